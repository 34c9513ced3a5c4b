/*
 * How the creation process is kept out of others' reach. The user namespace that it is in belongs to the caller's uid, and
 * whoever has that uid has every capability over it, CAP_SYS_PTRACE too (cap_capable() in security/commoncap.c): somebody
 * with less privilege than the caller, whom ptrace(2) and Yama keep from the caller himself, may trace that process. What
 * shares the caller's memory must not be such a process.
 */
#ifndef USERNS_TRACE_GUARD_H
#define USERNS_TRACE_GUARD_H

enum shelter {
	SHELTER_NONE,   /* who could trace it may trace the caller */
	SHELTER_HIDDEN, /* it shares our memory, which is not dumpable meanwhile: shelter_hide() */
	SHELTER_APART,  /* it must have a memory of its own */
};

enum shelter shelter_kind(void);

/*
 * The process as a whole is not dumpable until as many shelter_show() as there were shelter_hide(), in all copies of this
 * package. Only a process with CAP_SYS_PTRACE in the user namespace of the program can trace it then. 0 or a negative errno,
 * after which the caller uses SHELTER_APART: the copies cannot share their count, or the process was already not dumpable and
 * none of them has made it so.
 */
int shelter_hide(void);

void shelter_show(void);

#endif
