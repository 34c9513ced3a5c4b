/* The signal mask of the calling thread, with all 64 signals; pthread_sigmask(3) would leave out the two that libc uses itself. */
#ifndef USERNS_SIGNAL_MASK_H
#define USERNS_SIGNAL_MASK_H

#include "kernel/raw-syscall.h"
#include <signal.h>
#include <stdint.h>

typedef uint64_t kernel_sigset;

NO_STACK_PROTECTOR static inline void signals_set(const kernel_sigset *new, kernel_sigset *old)
{
	raw_syscall5(SYS_rt_sigprocmask, SIG_SETMASK, (long)new, (long)old, sizeof(kernel_sigset), 0);
}

NO_STACK_PROTECTOR static inline void signals_block(kernel_sigset *before)
{
	const kernel_sigset all = ~(kernel_sigset)0;

	signals_set(&all, before);
}

#endif
