/*
 * How long this package waits for its processes, and after how long the kernel kills one by its own timer
 * (child_die_after()). A timer is longer than the wait that it belongs to, so that the waiting thread reports the timeout,
 * and not a signal.
 */
#ifndef USERNS_TIME_LIMITS_H
#define USERNS_TIME_LIMITS_H

/* userns-join joins in microseconds. It has no timer: it ends with the socket to its parent (programs/userns-join.c). */
#define JOINER_ANSWER_MS 10000

/* newuidmap and newgidmap may have to ask a directory service for the user's ranges. Both run at once. */
#define HELPER_WAIT_MS 30000
#define HELPER_TIMER_MS 30500

/* A child that may touch another user's file system, and how long it may take to end after it was killed (child/bounded-child.c). */
#define ERRAND_WAIT_MS 10000
#define ERRAND_TIMER_MS 10500
#define ERRAND_DEATH_MS 1000
/* How long the end of a thread waits for one that unmounts what nobody would hear of: a busy machine may not run it at once. */
#define ERRAND_UNDO_MS 2000

_Static_assert(HELPER_TIMER_MS > HELPER_WAIT_MS, "the timeout of a program is reported before its timer ends it");
_Static_assert(ERRAND_TIMER_MS > ERRAND_WAIT_MS, "the timeout of a child is reported before its timer ends it");
_Static_assert(ERRAND_TIMER_MS < ERRAND_WAIT_MS + ERRAND_DEATH_MS, "the timer ends a child before it is given up");

#endif
