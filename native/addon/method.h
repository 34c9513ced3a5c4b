/* One call of a method of the add-on: its arguments, the function that runs, and its result. */
#ifndef USERNS_METHOD_H
#define USERNS_METHOD_H

#include "addon/arguments.h"
#include "addon/environment.h"
#include "addon/results.h"
#include "addon/worker-pool.h"
#include <node_api.h>
#include <stddef.h>

struct call {
	struct task task; /* the first member */
	const struct method *method;
	struct environment *environment; /* not valid any more when the environment has ended */
	struct waiter *waiter; /* that of the pool thread on which the call runs; NULL: the calling thread */
	int fd;                /* a descriptor that the call owns, which is closed with it; or −1 */
	int count;             /* the arguments that were read */
	napi_deferred deferred;
	struct argument arguments[MOST_ARGUMENTS];
};

enum method_thread {
	ON_CALLER, /* the calling thread; JavaScript gets the result */
	ON_WORKER, /* the worker pool; JavaScript gets a promise of the result */
	ON_EITHER, /* as the last argument, `later`, says */
};

struct method {
	const char *name;
	enum argument_kind arguments[MOST_ARGUMENTS];
	enum result_kind result;
	enum method_thread thread;
	void (*run)(struct call *call);   /* no JavaScript in it */
	void (*begin)(struct call *call); /* before run(), on the environment's thread; or NULL */
	napi_callback callback; /* method_call(), or a function only for this method */
	int is_hidden;          /* not exported, see create-method.c */
	int (*derive)(int fd);  /* makes a descriptor out of another, or returns a negative errno; or NULL */
	const char *step;       /* that of a failure of derive() */
};

/*
 * The JavaScript function of every method, whose data is a struct bound_method:
 *   1. Reads the arguments; a wrong one is an exception, and nothing else happens.
 *   2. Calls begin().
 *   3. Calls run() here, or submits the call to the worker pool.
 *   4. Makes the JavaScript value of the result, and frees the call.
 */
napi_value method_call(napi_env env, napi_callback_info info);

/* Defines a function for each method in the exports. False if one cannot be made. */
int methods_export(napi_env env, napi_value exports, struct environment *environment);

/* The table of all methods, in methods.c. */
extern const struct method methods[];
extern const size_t method_count;

/* addon/mount-methods.c */
void run_open_location(struct call *call);
void run_tree(struct call *call);
void run_attach(struct call *call);
void run_mount(struct call *call);
void run_detach(struct call *call);
void run_join_peers(struct call *call);
void run_overlay(struct call *call);
void run_walk(struct call *call);
void run_open_namespace(struct call *call);
void run_pin(struct call *call);

#endif
