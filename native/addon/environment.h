/* What the add-on keeps for one JavaScript environment: the main thread or a worker. */
#ifndef USERNS_ENVIRONMENT_H
#define USERNS_ENVIRONMENT_H

#include "addon/create-queue.h"
#include "addon/fd-registry.h"

struct jobs;

struct environment {
	struct fd_registry *registry;
	struct jobs *jobs;
	struct workshop *workshop;
	struct creations *creations; /* of each copy of this package that is loaded in it, or NULL */
};

#endif
