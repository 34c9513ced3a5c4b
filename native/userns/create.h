/* Creates user namespaces with given maps. The creation processes have ended when the call returns. */
#ifndef USERNS_CREATE_H
#define USERNS_CREATE_H

#include "kernel/outcome.h"
#include <stddef.h>

struct create_request {
	const char *uid_map; /* the text to write; empty: no uid is mapped */
	const char *gid_map;
	const char *setgroups;    /* "deny" or "allow" */
	int direct;               /* write the maps, and call a program only for a map that the kernel refuses with EPERM */
	const char *programs[2];  /* the paths of newuidmap and newgidmap; NULL: not called */
	char *arguments[2];       /* the maps as arguments of these programs; modified */
};

/* Returns 1 if the request may call a program, which may take long. */
static inline int create_calls_programs(const struct create_request *request)
{
	return request->programs[0] != NULL || request->programs[1] != NULL;
}

/* The largest number of requests for one call, each of which has a creation process. */
#define CREATE_MOST 8

/*
 * Creates all of them; each succeeds or fails independently. A batch takes less time than one creation after the other; a
 * creation of a batch that runs short of descriptors or processes is repeated alone. If a program wrote a map, the outcome's
 * OUTCOME_MAPS are the maps that the namespace has now; the caller compares them with the request.
 */
void create_namespaces(const struct create_request *const *requests, struct outcome *const *outs, int count);

#endif
