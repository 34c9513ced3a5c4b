/* A new user namespace with given maps, by a creation process that is gone when the call returns. */
#ifndef USERNS_CREATE_H
#define USERNS_CREATE_H

#include "outcome.h"

struct create_request {
	const char *uid_map; /* the text to write; empty: the kind stays unmapped */
	const char *gid_map;
	const char *setgroups; /* "deny" or "allow" */
};

void create_namespace(const struct create_request *request, struct outcome *out);

#endif
