#include "proc/sysctl.h"
#include "kernel/auto-close.h"
#include "kernel/kernel-abi.h"
#include "proc/procfs-file.h"
#include "proc/procfs.h"
#include <errno.h>
#include <limits.h>
#include <string.h>

#define PROC "/proc/"
#define SYS "/proc/sys/"

/*
 * Returns the error for a missing file: ENOENT if the last existing directory of its path is below /proc/sys and in a procfs, as
 * on a kernel without the sysctl. EXDEV if more is missing, or a file system is mounted over it.
 */
static int judge_missing(const char *path)
{
	char folder[PATH_MAX];
	AUTO_CLOSE int fd = -1;

	if (strlen(path) >= sizeof folder) return -ENAMETOOLONG;
	strcpy(folder, path);
	while (fd < 0) {
		*strrchr(folder, '/') = '\0';
		if (strlen(folder) < strlen(SYS)) return -EXDEV;
		fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0 && errno != ENOENT) return -errno;
	}
	int error = procfs_check(fd, 0);
	return error == 0 ? -ENOENT : error;
}

/* Opens the file in a private procfs, which nothing is mounted over but which needs CAP_SYS_ADMIN. ENOENT as above, or EXDEV. */
static int open_in_private_proc(const char *path)
{
	AUTO_CLOSE int root = procfs_make_private();
	int fd = root < 0 ? -1 : openat(root, path + strlen(PROC), O_RDONLY | O_CLOEXEC);

	if (root < 0) return -EXDEV;
	return fd < 0 ? -errno : fd;
}

static int open_sysctl(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0) fd = errno == ENOENT ? judge_missing(path) : -errno;
	return fd == -EXDEV ? open_in_private_proc(path) : fd;
}

int sysctl_digit(const char *path)
{
	char digit = '\0';
	AUTO_CLOSE int fd = open_sysctl(path);
	ssize_t length;

	if (fd < 0) return fd;
	do length = read(fd, &digit, 1);
	while (length < 0 && errno == EINTR);
	if (length < 0) return -errno;
	/* A file that is mounted over the sysctl is believed only if it contains 1, the restrictive value. */
	return digit < '0' || digit > '9' || (digit != '1' && procfs_check(fd, 0) < 0) ? -EXDEV : digit - '0';
}

int sysctl_suid_dumpable(void)
{
	int digit = sysctl_digit(SYS "fs/suid_dumpable");

	return digit == -ENOENT ? 0 : digit;
}
