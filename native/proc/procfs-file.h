/* Files below a descriptor of a procfs. */
#ifndef USERNS_PROCFS_FILE_H
#define USERNS_PROCFS_FILE_H

#include <stddef.h>

/* The size of an ID map as the kernel prints it: at most 340 lines of 33 bytes (seq_printf "%10u %10u %10u\n"). */
#define PROCFS_TEXT 12288

/*
 * Returns 0 if the descriptor is in a procfs or, with `root`, the root of one; EXDEV otherwise. A file system that imitates
 * /proc could receive our maps and return wrong contents: runc's CVE-2019-19921, CVE-2025-52881 and others.
 */
int procfs_check(int fd, int root);

/* Opens a name below a procfs. Crosses no mount, because another file may be mounted over a file of /proc. */
int procfs_open_below(int directory, const char *name, int flags);

/* Writes the whole text with one write(2). Returns 0 or a negative errno; EIO if the kernel took only a part. */
int procfs_write(int process, const char *file, const char *text, size_t length);

/* Reads a whole small file and terminates it with a NUL. Returns its length or a negative errno; EFBIG if it does not fit. */
long procfs_read(int process, const char *file, char *text, size_t size);

/* procfs_read() of an open file. */
long procfs_read_open(int fd, char *text, size_t size);

#endif
