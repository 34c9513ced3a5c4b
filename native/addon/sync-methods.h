/* What the calls have in common that answer at once, on the environment's own thread. */
#ifndef USERNS_SYNC_METHODS_H
#define USERNS_SYNC_METHODS_H

#include "kernel/outcome.h"
#include "addon/fd-registry.h"
#include <node_api.h>

struct function {
	const char *name;
	napi_callback call;
};

/* The one argument, a path, malloc'ed. NULL with an exception pending. */
char *short_path(napi_env env, napi_callback_info info, struct fd_registry **registry);

/* For a function that makes a descriptor out of another. */
napi_value short_derive(napi_env env, napi_callback_info info, int (*make)(int fd), const char *step);

/* For a function that does something with a descriptor and answers a number. */
napi_value short_number(napi_env env, napi_callback_info info, double (*work)(struct fd_registry *registry, int fd));

/* Makes the functions properties of the exports; `data` is what value_arguments_for() answers in them. */
int short_export(napi_env env, napi_value exports, const struct function *functions, size_t count, void *data);

#endif
