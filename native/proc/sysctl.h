/* Kernel settings below /proc/sys on which this package's decisions depend. */
#ifndef USERNS_SYSCTL_H
#define USERNS_SYSCTL_H

/*
 * The first digit of the file, or a negative errno. ENOENT: the kernel has no such setting. EXDEV: the setting is unknown,
 * because /proc/sys is missing (ProcSubset=pid of systemd, subset=pid in proc(5)) or a file system other than procfs is
 * mounted over it. A setting that cannot be read does not count as off.
 */
int sysctl_digit(const char *path);

/* fs.suid_dumpable; also 0 for a kernel without it. A negative errno as above, except ENOENT. */
int sysctl_suid_dumpable(void);

#endif
