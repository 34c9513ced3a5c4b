/* Sysctls below /proc/sys on which this package's decisions depend. */
#ifndef USERNS_SYSCTL_H
#define USERNS_SYSCTL_H

/*
 * Returns the first digit of the file, or a negative errno. ENOENT: the kernel does not have this sysctl. EXDEV: its value is
 * unknown, because /proc/sys is missing (ProcSubset=pid of systemd, subset=pid in proc(5)) or a file system other than procfs is
 * mounted over it. A caller must not treat an unknown value as 0.
 */
int sysctl_digit(const char *path);

/* Returns fs.suid_dumpable; 0 if the kernel does not have it. A negative errno as above, except ENOENT. */
int sysctl_suid_dumpable(void);

#endif
