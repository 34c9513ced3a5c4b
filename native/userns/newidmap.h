/* newuidmap(1) and newgidmap(1): set-user-ID programs that write a map which the caller may not write. */
#ifndef USERNS_NEWIDMAP_H
#define USERNS_NEWIDMAP_H

#include "kernel/outcome.h"

/*
 * Runs the programs for the process of the pidfd, both at once, and waits for them. `programs` and `maps` are for uid and gid; a
 * program that is NULL is not called. The texts of the maps are cut into words in place. The outcome receives the output of each
 * (OUTCOME_SAID) and its status: its exit status, 256 plus the signal that ended it, or a negative errno if it did not run, or not
 * to its end.
 */
int newidmap_write_maps(int pidfd, const char *const programs[2], char *const maps[2], struct outcome *out);

#endif
