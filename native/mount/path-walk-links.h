/*
 * The state of the child of mount/path-walk.c, and how it follows a symbolic link. Raw system calls only: it shares our memory
 * (child/child.h).
 */
#ifndef USERNS_PATH_WALK_LINKS_H
#define USERNS_PATH_WALK_LINKS_H

#include "child/bounded-child.h"
#include "child/fd-passing.h"
#include "mount/path-walk.h"
#include <limits.h>
#include <sys/stat.h>
#include <sys/vfs.h>

/* MAXSYMLINKS of the kernel, include/linux/namei.h. */
#define MOST_LINKS 40
/* The most directories that are open at a time, so that ".." needs no look-up. */
#define MOST_DEPTH 256

/* The state of the child, outside its stack, which is small. */
struct walk {
	struct bounded_child bounded;
	struct walk_request request;
	int error;
	const char *step;
	int self; /* the caller's own folder in /proc, or -1 */
	/* Where the walk is: held[depth - 1], or `base` for depth 0. */
	int base;
	int root;   /* of a contained walk; -1: "/" */
	int at_top; /* ".." of `base` is `base` */
	int depth;
	int held[MOST_DEPTH];
	/* The names still to walk: texts[text] from at[text] on, then the rest of each earlier text. */
	int text;
	int links;
	int at[MOST_LINKS + 1];
	char *name; /* the last one that was taken, without a slash */
	int follows; /* what_follows() that name */
	uint32_t uid; /* of the link that was refused */
	struct statx ids;
	struct statfs fs;
	uint64_t mount[64]; /* what statmount(2) answers, with its text */
	char texts[MOST_LINKS + 1][PATH_MAX];
	struct fd_passing channel; /* the last: it ends in a control message, which has no size of its own */
};

/* Notes the step that failed, in one line with it. */
int walk_fail(struct walk *walk, long error, const char *step);

/* An O_PATH descriptor, or a negative errno. */
int walk_look(int directory, const char *name, int flags);

/* Fills `ids`. 0 or a negative errno. */
int walk_get_facts(struct walk *walk, int fd);

/* The directory that the walk is in. */
int walk_here(const struct walk *walk);

/* The walk goes on from there; `at_top`: ".." stays there. Earlier descriptors are closed with the child. */
void walk_jump(struct walk *walk, int fd, int at_top);

/* The walk goes on from the root. 0 or a negative errno. */
int walk_to_root(struct walk *walk);

int walk_is_name(const char *name, const char *other);

/* Checks and follows the link that `ids` describe, and closes it. 0 or a negative errno. */
int walk_follow(struct walk *walk, int link);

#endif
