/* The parts of supervise: the calls that come to it, and its answers. */
#ifndef SUPERVISE_H
#define SUPERVISE_H

#include <linux/seccomp.h>
#include <stdint.h>
#include <sys/types.h>

/* The action at the call; the numbers are those of supervise.ts. */
enum action {
	ACTION_NONE,
	ACTION_ERRNO,   /* it fails with errno `argument` */
	ACTION_KILL,    /* the program gets the signal `argument` before the call is made */
	ACTION_HOLD,    /* the call is made `argument` milliseconds late */
	ACTION_SHORT,   /* a write(2) returns one byte less, and writes nothing */
	ACTION_PARTIAL, /* from that read(2) on each one returns at most `argument` bytes */
	ACTION_STICKY,  /* from the first one on every call with the number `index` fails with errno `argument` */
};

/* The processes whose calls count. */
enum scope {
	SCOPE_OWN,      /* the program's threads */
	SCOPE_CHILDREN, /* its children: those that share its memory, and programs called userns-… */
	SCOPE_PROGRAMS, /* programs called userns-… alone */
};

#define MOST_CALLS 1500

struct plan {
	pid_t program;
	int ended;
	enum action action;
	enum scope scope;
	unsigned index;
	int argument;
	unsigned count;       /* the calls since it was armed */
	int hit;              /* the number of the affected call, or −1 */
	uint64_t held;        /* the call that waits to be released */
	long release_at;
	int let_go;           /* the release came before the call */
	uint64_t killed;      /* the call at which the signal was sent */
	unsigned killed_thread; /* the thread that is about to make it */
	unsigned attached;    /* move_mount(2) calls that were made, in whatever scope */
	unsigned late;        /* those that were made after the program's end */
	short calls[MOST_CALLS];
};

enum decision {
	DECIDE_ANSWER,
	DECIDE_HOLD,
	DECIDE_KILL,
};

/* In the child: installs the filter. Returns its listener, or −1. */
int filter_install(void);

/* Decides about a call; for DECIDE_ANSWER it fills the response in. */
enum decision plan_decide(struct plan *plan, const struct seccomp_notif *call, struct seccomp_notif_resp *response);

/* Counts a call that is made. */
void plan_made(struct plan *plan, int number);

/*
 * SIGKILL was sent and the program has not ended: calls of its children wait meanwhile, so that each run is the same.
 */
int plan_is_dying(const struct plan *plan);

/* Prints on standard error which calls were made, if the program was killed or held at one. */
void plan_tell(const struct plan *plan);

#endif
