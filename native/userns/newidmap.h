/* newuidmap(1) and newgidmap(1): set-uid programs that write a map which the caller may not write. */
#ifndef USERNS_NEWIDMAP_H
#define USERNS_NEWIDMAP_H

#include "child/child.h"
#include "kernel/outcome.h"

#define NEWIDMAP_ARGUMENTS (340 * 3 + 3) /* as many extents as the kernel takes, and name, pid and NULL */

struct newidmap {
	struct child child;
	const char *program; /* a path; NULL: this one is not called */
	int input;
	int output;
	int error; /* written by the child when it cannot execute the program; we share its memory until then */
	int listening;
	char pid[12];
	char *arguments[NEWIDMAP_ARGUMENTS];
};

/*
 * Calls the programs for the process behind the pidfd, both at once, and waits for them. `programs` and `maps` are for
 * uid and gid; a program that is NULL is not called. The maps' texts are cut into words in place. The outcome gets
 * what each said on its standard output and error, and its status: its exit status, 256 and the number of the signal
 * that ended it, or a negative errno when it did not run at all or not to its end.
 */
int newidmap_write_maps(int pidfd, const char *const programs[2], char *const maps[2], struct outcome *out);

#endif
