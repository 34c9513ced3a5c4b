/* An operation that may take long: on the calling thread, or in the thread pool with a promise. */
#ifndef USERNS_JOB_H
#define USERNS_JOB_H

#include "attach.h"
#include "join.h"
#include "overlay.h"
#include "owned.h"
#include "tree.h"
#include <node_api.h>

#define JOB_TEXTS 1

struct job {
	void (*run)(struct job *job); /* on any thread: no JavaScript in it */
	/* Takes back what outlives its descriptor, when nobody can be told of it any more; or NULL. */
	void (*undo)(struct job *job);
	void (*answered)(struct job *job); /* when the answer is made, and its descriptor the environment's; or NULL */
	struct outcome out;
	union {
		struct join_request join;
		struct tree_request tree;
		struct attach_request attach;
		struct overlay_request overlay;
		struct place place;
		size_t piece; /* bytes to read from `fd` */
	} request;
	char *texts[JOB_TEXTS]; /* malloc'ed strings that the request points to */
	char **list;            /* a vector of more of them, or NULL */
	void *block;            /* anything else that it points to, or NULL */
	void *roots;            /* likewise */
	int fd;                 /* a descriptor of its own that is closed with it, or -1 */
	struct owned *owned;
	napi_deferred deferred;
	napi_async_work work;
};

struct job *job_new(napi_env env, struct owned *owned, void (*run)(struct job *job));

/* For arguments that turned out wrong. */
void job_free(struct job *job);

/* Runs the job and frees it. The outcome, or a promise of it when `later`. */
napi_value job_start(napi_env env, struct job *job, int later);

#endif
