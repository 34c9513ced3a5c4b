/*
 * The creations of one copy of this package in one JavaScript environment: on the calling thread, or on threads of their
 * own. Those take one creation after the other, so that many at once cost the event loop one wake-up for several.
 */
#ifndef USERNS_CREATE_QUEUE_H
#define USERNS_CREATE_QUEUE_H

#include "addon/create-request.h"
#include "addon/fd-registry.h"
#include <node_api.h>

struct creations;
struct workshop;

/*
 * The threads of one environment and what waits for them: one for all copies, of which a program that loads its modules
 * anew for each test has hundreds. NULL: out of memory.
 */
struct workshop *workshop_new(void);

/* The environment ends; behind creations_end(). Whatever waits is forgotten. */
void workshop_end(struct workshop *workshop);

/*
 * `program`: the path of userns-join, for where a creation must share nothing with us; taken over. `on_result`: a function,
 * called with a token and an answer. `next`: others of the environment. NULL: out of memory, and nothing is taken over.
 */
struct creations *creations_new(napi_env env, struct workshop *workshop, struct fd_registry *registry, char *program,
				napi_value on_result, struct creations *next);

/* The environment ends, for this one and the others. What runs in the pool keeps what it needs. */
void creations_end(struct creations *creations);

const char *creations_program(const struct creations *creations);

/* The descriptors of the environment. */
struct fd_registry *creations_owned(const struct creations *creations);

/* On another thread, which takes it over. False when nothing could be started. */
int creations_start(struct creations *creations, napi_env env, struct creation *creation);

#endif
