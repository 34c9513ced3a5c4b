/*
 * Looks a path up name by name, in a child process with a time limit, and checks each symbolic link before it is followed.
 * The kernel's own look-up (open(2), openat2(2)) follows the links of every user, or none.
 */
#ifndef USERNS_PATH_WALK_H
#define USERNS_PATH_WALK_H

#include "kernel/outcome.h"

struct waiter;

/* What is done at the end of the path. */
enum walk_end {
	WALK_PLACE,     /* an O_PATH descriptor of what is there */
	WALK_HOLDER,    /* its directory, after every link, and its name there; an empty name: the place itself */
	WALK_PARENT,    /* the directory of the last name, which is not looked up; an empty name: there is none */
	WALK_CREATE,    /* a new, empty file in the directory `start`; the path is its name there. It may be there after an error at "own" */
	WALK_REMOVE,    /* removes that file, if it is empty; no descriptor */
	WALK_NAMESPACE, /* as WALK_PLACE, and what is there must be a namespace file: EMEDIUMTYPE */
};
#define WALK_ENDS 6

/* Which symbolic links are followed. */
enum walk_links {
	WALK_OWN_LINKS, /* those of root and of the user `owner` */
	WALK_NO_LINKS,
};
#define WALK_LINKS 2

struct walk_request {
	enum walk_end end;
	enum walk_links links;
	uint32_t owner;
	int mount_ns;     /* the mount namespace to look the path up in, or -1: one's own */
	int start;        /* the directory that a relative path starts in, or -1: the working directory or, in `mount_ns`, its root */
	int contained;    /* nothing leads out of `start`: an absolute path starts there too, and ".." stays there */
	const char *path;
	struct waiter *waiter; /* the pool thread that waits, or NULL */
};

/*
 * `out` receives the descriptor and, as OUTCOME_NAME, the name. ETIMEDOUT after about ten seconds. EACCES at the steps "link
 * owner" (OUTCOME_NAME: the uid, a blank, and the name of the link), "link fuse" and "link idmapped"; ELOOP at the step
 * "link".
 */
void walk_run(const struct walk_request *request, struct outcome *out);

#endif
