/* What an operation answers, to be made a JavaScript object by addon/module.c. */
#ifndef USERNS_OUTCOME_H
#define USERNS_OUTCOME_H

#include <stddef.h>
#include <stdint.h>

/* What is read in a process's folder, see proc/nsfs.h; what newuidmap and newgidmap said; the kernel's log of a mount */
#define OUTCOME_TEXTS 5
#define OUTCOME_MAPS 0
#define OUTCOME_SAID 1
#define OUTCOME_LOG 3
#define OUTCOME_NAME 4 /* of a file, see mount/path-walk.h */

struct outcome {
	int error;        /* 0, or the negative errno of the step that failed */
	int left;         /* after an error: a mount stays all the same, or may be attached later */
	const char *step; /* a short literal that names the step; src/native/steps.ts puts it in words */
	int fd;           /* a new CLOEXEC descriptor that the receiver owns, or -1 */
	uint64_t mount_id; /* as in mountinfo; 0 when there is none */
	uint64_t unique;   /* the unique mount ID, which is never reused; 0 if there is none, and before Linux 6.8 */
	char *texts[OUTCOME_TEXTS]; /* malloc'ed; NULL when there is none */
	void *bytes; /* malloc'ed, `length` of them; NULL when there are none */
	size_t length;
	int statuses[2]; /* of newuidmap and newgidmap: 0 when it did its work or was not called; see userns/newidmap.h */
};

/* For one line at a failing step. */
static inline int outcome_fail(struct outcome *out, int error, const char *step)
{
	out->error = error;
	out->step = step;
	return error;
}

#endif
