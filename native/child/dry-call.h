/* Calls that the kernel refuses because of their arguments, and a seccomp filter because of their number. */
#ifndef USERNS_DRY_CALL_H
#define USERNS_DRY_CALL_H

#include <stdint.h>

/*
 * Makes the system call of that index (the table in dry-call.c, `DRY_CALLS` in src/native/addon.ts) in a child, because a seccomp
 * filter can end a process for a call. Returns 1 if something other than the kernel's check of the arguments answers the call: a
 * seccomp filter, or a kernel without the call. 0 if the kernel checked the arguments, so no filter refuses the call; -ERANGE for
 * an index that is not in the table, or the error of clone(2).
 */
int dry_call(uint32_t index);

#endif
