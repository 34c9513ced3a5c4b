/* Keeps the calling thread on its own processor for the length of one clone, so that the child starts there. */
#ifndef USERNS_PROCESSOR_H
#define USERNS_PROCESSOR_H

#include <sched.h>
#include <sys/types.h>

/* As many as a mask of the C library's has; a machine with more is left as it is. */
struct processor {
	int bound; /* there is something to undo */
	cpu_set_t only; /* what the thread was bound to */
};

/*
 * Binds the calling thread to the processor that it runs on, where that can be undone without a trace; does nothing
 * elsewhere. Every signal must be blocked until processor_unbind(), which is to follow on every path out.
 */
void processor_bind(struct processor *processor);

void processor_unbind(const struct processor *processor);

/* Lets a thread that was started while its parent was bound (0: the caller) run everywhere. */
void processor_free(pid_t thread);

#endif
