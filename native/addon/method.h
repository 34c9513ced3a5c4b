/* An operation that may take long: on the calling thread, or on a thread of this package's own with a promise. */
#ifndef USERNS_METHOD_H
#define USERNS_METHOD_H

#include "mount/attach-steps.h"
#include "addon/worker-pool.h"
#include "userns/read-maps.h"
#include "mount/overlay.h"
#include "addon/fd-registry.h"
#include "mount/detached-tree.h"
#include <node_api.h>

#define JOB_TEXTS 2

struct jobs;

struct mount_request {
	struct tree_request tree;
	struct part part;
	struct attach_request attach;
};

struct detach_request {
	int fd;
	uint64_t unique;
	int mount_ns; /* −1: this process's own */
	int alone;    /* mount_detach_alone() */
};

struct job {
	struct worker_pool_task load; /* the first member */
	struct job *next;
	void (*run)(struct job *job); /* on any thread: no JavaScript in it */
	/* After a success: unmounts what outlives its descriptor, when JavaScript cannot learn of it any more; or NULL. */
	void (*undo)(struct job *job);
	void (*answered)(struct job *job); /* when the answer is made, and its descriptor the environment's; or NULL */
	struct waiter *waiter;             /* the pool thread that it runs on; NULL: the calling thread */
	struct outcome out;
	union {
		struct read_maps_request join;
		struct tree_request tree;
		struct attach_request attach;
		struct mount_request mount;
		struct detach_request detach;
		struct overlay_request overlay;
		struct {
			struct location location;
			int mount_ns; /* −1: this process's own */
		} open;
		struct {
			int from;
			int to;
			int mount_ns;
		} peers;
		size_t piece; /* bytes to read from `fd` */
		struct {
			uint64_t id;
			uint64_t ns;
			uint64_t param;
			size_t size; /* of the answer, in bytes */
		} ask; /* statmount(2) or listmount(2) */
	} request;
	char *texts[JOB_TEXTS]; /* malloc'ed strings that the request points to */
	char **list;            /* a vector of more of them, or NULL */
	void *block;            /* anything else that it points to, or NULL */
	void *roots;            /* likewise */
	int fd;                 /* a descriptor that the job owns and job_free() closes, or -1 */
	struct fd_registry *registry;
	struct jobs *jobs;      /* where it is one of those that are done and not answered, or NULL */
	napi_deferred deferred;
};

/* What waits for the threads of one environment. NULL when it cannot be. */
struct jobs *jobs_new(napi_env env, struct fd_registry *registry);

/* Called when the environment ends, after its threads have ended. */
void jobs_end(struct jobs *jobs);

struct job *job_new(napi_env env, struct fd_registry *registry, void (*run)(struct job *job));

/* For arguments that turned out wrong. */
void job_free(struct job *job);

/* Runs the job and frees it. The outcome, or a promise of it when `later`. */
napi_value job_start(napi_env env, struct job *job, int later);

#endif
