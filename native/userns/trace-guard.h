/*
 * How the creation process is kept out of others' reach. The user namespace that it is in belongs to the caller's uid, and
 * whoever has that uid has every capability over it, CAP_SYS_PTRACE too (cap_capable() in security/commoncap.c): somebody
 * with less privilege than the caller, whom ptrace(2) and Yama keep from the caller himself, may trace that process. What
 * shares the caller's memory must not be such a process.
 */
#ifndef USERNS_TRACE_GUARD_H
#define USERNS_TRACE_GUARD_H

enum trace_guard {
	TRACE_GUARD_NONE,   /* who could trace it may trace the caller */
	TRACE_GUARD_NOT_DUMPABLE, /* it shares our memory, which is not dumpable meanwhile: trace_guard_begin() */
	TRACE_GUARD_OWN_MEMORY,  /* it must have a memory of its own */
};

enum trace_guard trace_guard_kind(void);

/*
 * The process as a whole is not dumpable until as many trace_guard_end() as there were trace_guard_begin(), in all copies of this
 * package. Only a process with CAP_SYS_PTRACE in the user namespace of the program can trace it then. 0 or a negative errno,
 * after which the caller uses TRACE_GUARD_OWN_MEMORY: the copies cannot share their count, or the process was already not dumpable and
 * none of them has made it so.
 */
int trace_guard_begin(void);

void trace_guard_end(void);

#endif
