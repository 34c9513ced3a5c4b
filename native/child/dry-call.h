/* Calls that the kernel refuses because of their arguments, and a seccomp filter because of their number. */
#ifndef USERNS_DRY_CALL_H
#define USERNS_DRY_CALL_H

#include <stdint.h>

/*
 * Makes the system call of that index (the table in dry-call.c, `DRY_CALLS` in src/native/addon.ts). Returns 1 if something other
 * than the kernel's check of the arguments answers it: a seccomp filter, or a kernel without the call. 0 if the kernel checked the
 * arguments, so no filter refuses the call; -ERANGE for an index that is not in the table.
 *
 * With `is_apart` a child makes the call, because a filter can end a process for a call that the process has not made yet. The
 * child is a copy of the process, and takes about 10 ms for each GB of memory. Any other negative errno: not known, because no
 * child can be started, or because it ended for another reason.
 */
int dry_call(uint32_t index, int is_apart);

#endif
