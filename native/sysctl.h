/* Settings of the kernel below /proc/sys that this package decides by. */
#ifndef USERNS_SYSCTL_H
#define USERNS_SYSCTL_H

/*
 * The digit that the file begins with, or a negative errno. ENOENT: the kernel has no such setting. EXDEV: nothing can be
 * said of the setting, because /proc/sys is not there (ProcSubset=pid of systemd, subset=pid in proc(5)) or something that is
 * no procfs is mounted over it. What cannot be read does not count as off.
 */
int sysctl_digit(const char *path);

/* fs.suid_dumpable: 0 too for a kernel without it. A negative errno as above, but not ENOENT. */
int sysctl_suid_dumpable(void);

#endif
