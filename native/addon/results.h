/* JavaScript values that go out: numbers, and objects where there is more to tell. */
#ifndef USERNS_RESULTS_H
#define USERNS_RESULTS_H

#include "kernel/outcome.h"
#include "addon/fd-registry.h"
#include <node_api.h>

napi_value answer_number(napi_env env, double number);

/* An array of bigints. */
napi_value answer_bigs(napi_env env, const uint64_t *numbers, uint32_t count);

/*
 * A new descriptor as a number, and from now on the environment's; or a negative errno, which may also be what came of
 * taking it over: `fd` has it then. NULL when no number could be made; nothing is left open then either.
 */
napi_value answer_fd(napi_env env, struct fd_registry *registry, int *fd);

/*
 * The outcome as an object, and its descriptor as one that the environment owns. Frees the texts. NULL when no object
 * could be made; nothing is left open then.
 */
napi_value answer_outcome(napi_env env, struct fd_registry *registry, struct outcome *out);

/* The descriptor alone as a number, where there is nothing else to tell; otherwise as answer_outcome(). */
napi_value answer_brief(napi_env env, struct fd_registry *registry, struct outcome *out);

/* Instead of the outcome, the text of nsfs_read_maps() alone, which is freed. NULL when no string could be made. */
napi_value answer_maps(napi_env env, struct outcome *out);

#endif
