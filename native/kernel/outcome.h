/* The result of an operation. addon/results.c converts it to a JavaScript object. */
#ifndef USERNS_OUTCOME_H
#define USERNS_OUTCOME_H

#include <stddef.h>
#include <stdint.h>

#define OUTCOME_TEXTS 5
#define OUTCOME_MAPS 0 /* the maps of a process, see proc/nsfs.h */
#define OUTCOME_SAID 1 /* the output of newuidmap; the next index has that of newgidmap */
#define OUTCOME_LOG 3  /* the kernel's log of a mount */
#define OUTCOME_NAME 4 /* the name of a file, see mount/path-walk.h */

struct outcome {
	int error;        /* 0, or the negative errno of the step that failed */
	int left;         /* after an error: a mount stays attached, or may be attached later */
	const char *step; /* a literal that names the step; src/native/steps.ts has a sentence for each */
	int fd;           /* a new close-on-exec descriptor that the receiver owns, or -1 */
	uint64_t mount_id; /* the mount ID of mountinfo, or 0 */
	uint64_t unique;   /* the unique mount ID, which the kernel never reuses; 0 before Linux 6.8 */
	char *texts[OUTCOME_TEXTS]; /* allocated with malloc, or NULL */
	void *bytes; /* allocated with malloc, `length` bytes; or NULL */
	size_t length;
	int statuses[2]; /* of newuidmap and newgidmap, see userns/newidmap.h; 0 for a program that was not called */
};

/* Notes the step that failed, and returns the error. */
static inline int outcome_fail(struct outcome *out, int error, const char *step)
{
	out->error = error;
	out->step = step;
	return error;
}

#endif
