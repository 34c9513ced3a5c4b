/* Binds the calling thread to its current CPU for a moment, so that a child starts and ends there. */
#ifndef USERNS_CPU_BINDING_H
#define USERNS_CPU_BINDING_H

#include <sched.h>
#include <sys/types.h>

/* On a machine with more CPUs than a cpu_set_t has, nothing is bound. */
struct cpu_binding {
	int bound; /* cpu_unbind() must undo it */
	cpu_set_t only; /* the CPU that the thread was bound to */
};

/*
 * Binds the thread to the CPU that it runs on, if that can be undone without a trace. The thread has blocked every signal, so that
 * no handler runs meanwhile. The caller must call cpu_unbind() on every path; a second call does nothing.
 */
void cpu_bind(struct cpu_binding *cpu);

void cpu_unbind(struct cpu_binding *cpu);

/* Lets a thread that was started while its parent was bound (0: the caller) run on every CPU. */
void cpu_unbind_child(pid_t thread);

#endif
