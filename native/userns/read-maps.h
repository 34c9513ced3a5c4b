/* The maps of a namespace of which there is nothing but a descriptor. */
#ifndef USERNS_READ_MAPS_H
#define USERNS_READ_MAPS_H

#include "kernel/outcome.h"

struct read_maps_request {
	int ns;             /* a descriptor of a user namespace */
	const char *program; /* the path of userns-join */
};

/*
 * Reads uid_map, gid_map and setgroups. The kernel shows them only of a process, so a process has to join: a program
 * of its own (programs/userns-join.c), never one that shares our memory, for those who live in the namespace can trace whoever
 * comes in (CVE-2016-9962 was of this kind).
 */
void read_maps(const struct read_maps_request *request, struct outcome *out);

#endif
