/* Reads the maps of a namespace of which only a descriptor is known. */
#ifndef USERNS_READ_MAPS_H
#define USERNS_READ_MAPS_H

#include "kernel/outcome.h"

struct read_maps_request {
	int ns;              /* a descriptor of a user namespace */
	const char *program; /* the path of userns-join */
};

/*
 * Reads uid_map, gid_map and setgroups. The kernel shows them only for a process, so a process must join. It executes
 * userns-join (programs/userns-join.c) and never shares our memory, because processes in the namespace can trace it
 * (CVE-2016-9962 was of this kind).
 */
void read_maps(const struct read_maps_request *request, struct outcome *out);

#endif
