/*
 * Looks a path up name by name, in a child process with a timeout, and checks each symbolic link before it follows it. The
 * kernel's own look-up (open(2), openat2(2)) follows the links of every user, or none.
 */
#ifndef USERNS_PATH_WALK_H
#define USERNS_PATH_WALK_H

#include "kernel/outcome.h"

struct waiter;

/* The result, and the operation at the end of the path. */
enum walk_end {
	WALK_LOCATION,  /* an O_PATH descriptor of the file */
	WALK_HOLDER,    /* its directory, after every link, and its name there; an empty name: the file itself */
	WALK_PARENT,    /* the directory of the last name, which is not looked up; an empty name: there is none */
	WALK_CREATE,    /* a new, empty file in `start`; the path is its name there. After an error at "own" it may exist */
	WALK_REMOVE,    /* removes that file, if it is empty; no descriptor */
	WALK_NAMESPACE, /* as WALK_LOCATION, but the file must be a namespace: EMEDIUMTYPE */
};
#define WALK_ENDS 6

/* The symbolic links that are followed. */
enum walk_links {
	WALK_OWN_LINKS, /* those of root and of the user `owner` */
	WALK_NO_LINKS,
};
#define WALK_LINKS 2

struct walk_request {
	enum walk_end end;
	enum walk_links links;
	uint32_t owner;
	int mount_ns;     /* the mount namespace to look the path up in, or -1: this process's own */
	int start;        /* the directory that a relative path starts in; -1: the working directory or, in `mount_ns`, its root */
	int contained;    /* the path does not leave `start`: an absolute path starts there too, and ".." stays there */
	const char *path;
	struct waiter *waiter; /* the pool thread that waits, or NULL */
};

/*
 * `out` receives the descriptor and, as OUTCOME_NAME, the name. ETIMEDOUT after BOUNDED_CHILD_TIMEOUT_MS. EACCES at the steps "link
 * owner" (OUTCOME_NAME: the uid, a blank, and the name of the link), "link fuse" and "link idmapped"; ELOOP at the step
 * "link".
 */
void walk_run(const struct walk_request *request, struct outcome *out);

#endif
