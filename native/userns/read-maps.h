/* Reads the maps of a namespace of which only a descriptor is known. */
#ifndef USERNS_READ_MAPS_H
#define USERNS_READ_MAPS_H

#include "kernel/outcome.h"

/*
 * Reads uid_map, gid_map and setgroups of the user namespace of a descriptor. The kernel shows them only for a process, so a
 * process must join. It executes userns-join (programs/userns-join.c) and never shares our memory, because processes in the
 * namespace can trace it (CVE-2016-9962 was of this kind).
 */
void read_maps(int ns, struct outcome *out);

#endif
