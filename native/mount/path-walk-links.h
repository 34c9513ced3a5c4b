/*
 * The state of the child of mount/path-walk.c, and how it follows a symbolic link. Its functions make only raw system calls, because
 * the child shares our memory (child/child.h).
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
/* The largest number of directories that are open at a time. With them, ".." needs no look-up. */
#define MOST_DEPTH 256

/* It is not on the child's stack, which is small. */
struct walk {
	struct bounded_child bounded;
	struct walk_request request;
	int self; /* the caller's own directory in /proc, or -1 */
	/* The current directory is directories[depth - 1], or `base` for depth 0. */
	int base;
	int root;   /* of a contained walk; -1: "/" */
	int at_top; /* ".." of `base` is `base` */
	int depth;
	int directories[MOST_DEPTH];
	/* The remaining names: texts[text] from at[text] on, then the rest of each earlier text. */
	int text;
	int links;
	int at[MOST_LINKS + 1];
	char *name; /* the current name, without a slash */
	int follows; /* what_follows() that name */
	uint32_t uid; /* of the refused link */
	struct statx stat;
	struct statfs fs;
	uint64_t mount[64]; /* the answer of statmount(2), with its text */
	char texts[MOST_LINKS + 1][PATH_MAX];
	struct fd_passing channel; /* the last member, because it ends in a control message, whose size is not fixed */
};

NO_STACK_PROTECTOR static inline int walk_note(struct walk *walk, long error, const char *step)
{
	return bounded_child_note(&walk->bounded, error, step);
}

/* Opens a name. Returns an O_PATH descriptor or a negative errno. */
int walk_look(int directory, const char *name, int flags);

/* Fills in `stat`. Returns 0 or a negative errno. */
int walk_stat(struct walk *walk, int fd);

/* Returns the current directory. */
int walk_here(const struct walk *walk);

/* Continues the walk from a directory; `at_top`: ".." stays there. Earlier descriptors are closed with the child. */
void walk_jump(struct walk *walk, int fd, int at_top);

/* Continues the walk from the root. Returns 0 or a negative errno. */
int walk_to_root(struct walk *walk);

int walk_is_name(const char *name, const char *other);

/* Checks and follows the link that `stat` describes, and closes it. Returns 0 or a negative errno. */
int walk_follow(struct walk *walk, int link);

#endif
