/*
 * Every timeout of a process of this package, and the timer after which the kernel kills it (child_die_after()). A timer is
 * longer than its timeout, so that the waiting thread reports the timeout, and not a signal.
 */
#ifndef USERNS_TIME_LIMITS_H
#define USERNS_TIME_LIMITS_H

/* userns-join joins in microseconds. It has no timer, because it ends with the socket to its parent (programs/userns-join.c). */
#define JOIN_PROCESS_TIMEOUT_MS 10000

/* newuidmap and newgidmap may query a directory service for the user's ranges. They run at the same time, with one timeout for both. */
#define NEWIDMAP_TIMEOUT_MS 30000
#define NEWIDMAP_TIMER_MS 30500

/* A child that may access another user's file system, and how long it may take to end after SIGKILL (child/bounded-child.c). */
#define BOUNDED_CHILD_TIMEOUT_MS 10000
#define BOUNDED_CHILD_TIMER_MS 10500
#define BOUNDED_CHILD_DEATH_MS 1000
/* How long the end of a thread waits for a child that unmounts an unacknowledged mount: a busy machine may start it late. */
#define BOUNDED_CHILD_UNDO_MS 2000

/* One call that a seccomp filter may pass to another process (SECCOMP_RET_USER_NOTIF), which may not answer. The caller waits. */
#define DRY_CALL_TIMEOUT_MS 2000

_Static_assert(NEWIDMAP_TIMER_MS > NEWIDMAP_TIMEOUT_MS, "the timeout of a program is reported before its timer kills it");
_Static_assert(BOUNDED_CHILD_TIMER_MS > BOUNDED_CHILD_TIMEOUT_MS, "the timeout of a child is reported before its timer kills it");
_Static_assert(BOUNDED_CHILD_TIMER_MS < BOUNDED_CHILD_TIMEOUT_MS + BOUNDED_CHILD_DEATH_MS,
	       "the timer kills a child before it is abandoned");

#endif
