/* The state of the add-on in one JavaScript environment: the main thread or a worker. */
#ifndef USERNS_ENVIRONMENT_H
#define USERNS_ENVIRONMENT_H

#include "addon/fd-registry.h"
#include "addon/worker-pool.h"

struct create_method;
struct method;

/* The data of a JavaScript function of the add-on. */
struct bound_method {
	const struct method *method;
	struct environment *environment;
};

struct environment {
	struct fd_registry *registry;
	struct worker_pool *pool;
	struct create_method *create_methods; /* one for each copy of this package that this environment has loaded, or NULL */
	struct bound_method *methods;
};

#endif
