/*
 * Functions whose symbol not every C library has: the add-on is one file for glibc from 2.17 on and for musl
 * (scripts/portable.mjs has the list of symbols).
 */
#ifndef USERNS_PORTABLE_H
#define USERNS_PORTABLE_H

#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A symbol of glibc only since 2.33. The kernel's structure is that of the C library on x86-64 and arm64. */
static inline int portable_fstat(int fd, struct stat *st)
{
	return (int)syscall(SYS_fstat, fd, st);
}

/* A symbol of glibc since 2.28, and of musl since 1.2.4. */
static inline int portable_statx(int fd, const char *path, int flags, unsigned mask, struct statx *answer)
{
	return (int)syscall(SYS_statx, fd, path, flags, mask, answer);
}

/* The headers of glibc 2.38 and later name another symbol. */
long portable_strtol(const char *text, char **end, int base) __asm__("strtol");

/* glibc has atexit(3) in a part that is linked statically. */
static inline int portable_atexit(void (*function)(void *))
{
	extern int __cxa_atexit(void (*)(void *), void *, void *);
	extern void *__dso_handle __attribute__((visibility("hidden")));

	return __cxa_atexit(function, NULL, __dso_handle);
}

#endif
