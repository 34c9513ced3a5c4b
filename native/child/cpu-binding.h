/* Keeps the calling thread on its own processor for a moment, so that a child starts and ends there. */
#ifndef USERNS_CPU_BINDING_H
#define USERNS_CPU_BINDING_H

#include <sched.h>
#include <sys/types.h>

/* As many as a mask of the C library's has; a machine with more is left as it is. */
struct cpu_binding {
	int bound; /* there is something to undo */
	cpu_set_t only; /* what the thread was bound to */
};

/*
 * Binds the thread, all of whose signals are blocked so that nothing else runs on it, to the processor that it runs on, where
 * that can be undone without a trace. cpu_unbind() is to follow on every path out; a second one does nothing.
 */
void cpu_bind(struct cpu_binding *cpu);

void cpu_unbind(struct cpu_binding *cpu);

/* Lets a thread that was started while its parent was bound (0: the caller) run everywhere. */
void cpu_unbind_child(pid_t thread);

#endif
