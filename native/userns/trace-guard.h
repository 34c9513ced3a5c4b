/*
 * Protects the creation process from being traced. Its user namespace belongs to the caller's uid, and a process with that uid has
 * every capability over it, CAP_SYS_PTRACE too (cap_capable() in security/commoncap.c). So a process with less privilege than the
 * caller, which ptrace(2) and Yama prevent from tracing the caller, may trace the creation process. That process must not share the
 * caller's memory then.
 */
#ifndef USERNS_TRACE_GUARD_H
#define USERNS_TRACE_GUARD_H

enum trace_guard {
	TRACE_GUARD_NONE,         /* a process that can trace it may trace the caller too */
	TRACE_GUARD_NOT_DUMPABLE, /* it shares our memory, and this process is not dumpable meanwhile: trace_guard_begin() */
	TRACE_GUARD_OWN_MEMORY,   /* it must have its own memory */
};

enum trace_guard trace_guard_kind(void);

/*
 * Makes this process not dumpable until there were as many calls of trace_guard_end(), in all copies of this package. Only a
 * process with CAP_SYS_PTRACE in the user namespace of the executed program can trace it then. Returns 0 or a negative
 * errno, after which the caller uses TRACE_GUARD_OWN_MEMORY: the copies cannot share their count, or the process was already not
 * dumpable and none of them has made it so.
 */
int trace_guard_begin(void);

void trace_guard_end(void);

#endif
