/* Files below a descriptor in a procfs. */
#ifndef USERNS_PROCFS_FILE_H
#define USERNS_PROCFS_FILE_H

#include <stddef.h>

/* An id map as the kernel prints it: at most 340 lines of 33 bytes (seq_printf "%10u %10u %10u\n"). */
#define PROCFS_TEXT 12288

/*
 * Whether it is a procfs, or the root of one: 0, or EXDEV. A file that only looks like /proc takes our maps and tells lies:
 * runc's CVE-2019-19921, CVE-2025-52881 and others.
 */
int procfs_check(int fd, int root);

/* Opens a name below a procfs without crossing a mount: something may lie on top of a file in /proc. */
int procfs_open_below(int directory, const char *name, int flags);

/* Writes the whole text at once. 0 or a negative errno; EIO when the kernel took only a part. */
int procfs_write(int process, const char *file, const char *text, size_t length);

/* Reads a whole small file and ends it with a NUL. Its length, or a negative errno; EFBIG when it does not fit. */
long procfs_read(int process, const char *file, char *text, size_t size);

/* The same of a file that procfs_open_file() has opened. */
long procfs_read_open(int fd, char *text, size_t size);

/* Opens a file of a process that procfs_open_process() found, to read it. A descriptor or a negative errno. */
int procfs_open_file(int process, const char *file);

#endif
