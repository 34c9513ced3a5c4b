/* A new user namespace with given maps, by a creation process that is gone when the call returns. */
#ifndef USERNS_CREATE_H
#define USERNS_CREATE_H

#include "kernel/outcome.h"
#include <stddef.h>

struct create_request {
	const char *uid_map; /* the text to write; empty: the kind stays unmapped */
	const char *gid_map;
	const char *setgroups; /* "deny" or "allow" */
	int direct;            /* write the maps, and call a program only for one that the kernel refuses with EPERM */
	const char *programs[2]; /* the paths of newuidmap and newgidmap; NULL: they are not to be called */
	char *arguments[2];      /* the maps as they are given to them; changed on the way */
	const char *join_program; /* the path of userns-join, for where the creation process must share nothing with us */
};

/* What calls programs may take long. */
static inline int create_calls_programs(const struct create_request *request)
{
	return request->programs[0] != NULL || request->programs[1] != NULL;
}

/* So many creation processes at most are there at once for one call. */
#define CREATE_MOST 8

/*
 * Makes them, each for itself: what one of them is refused is its own outcome. Several at once take less time than one
 * after the other; one that runs short of something then is made once more, alone. Where a program wrote a map, the
 * outcome's texts say what the namespace has now: whether that is what was asked for is for the caller to see.
 */
void create_namespaces(const struct create_request *const *requests, struct outcome *const *outs, int count);

#endif
