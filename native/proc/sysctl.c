#include "proc/sysctl.h"
#include "kernel/kernel-abi.h"
#include "proc/procfs-file.h"
#include "proc/procfs.h"
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#define PROC "/proc/"
#define SYS "/proc/sys/"

/*
 * The error for a missing file: ENOENT if the last existing directory of its path is below /proc/sys and in a procfs, as on a
 * kernel without the setting. EXDEV if more is missing, or something is mounted over it.
 */
static int judge_missing(const char *path)
{
	char folder[PATH_MAX];
	int fd = -1;
	int error;

	if (strlen(path) >= sizeof folder) return -ENAMETOOLONG;
	strcpy(folder, path);
	while (fd < 0) {
		*strrchr(folder, '/') = '\0';
		if (strlen(folder) < strlen(SYS)) return -EXDEV;
		fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0 && errno != ENOENT) return -errno;
	}
	error = procfs_check(fd, 0);
	close(fd);
	return error == 0 ? -ENOENT : error;
}

/*
 * Opens the setting in a private procfs, which hides nothing but needs CAP_SYS_ADMIN. A descriptor, ENOENT as above, or
 * EXDEV.
 */
static int open_in_private_proc(const char *path)
{
	int root = procfs_make_private();
	int fd;

	if (root < 0) return -EXDEV;
	fd = openat(root, path + strlen(PROC), O_RDONLY | O_CLOEXEC);
	if (fd < 0) fd = -errno;
	close(root);
	return fd;
}

static int open_setting(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0) fd = errno == ENOENT ? judge_missing(path) : -errno;
	return fd == -EXDEV ? open_in_private_proc(path) : fd;
}

int sysctl_digit(const char *path)
{
	char digit = '\0';
	int fd = open_setting(path);
	ssize_t length;
	int error = 0;

	if (fd < 0) return fd;
	do length = read(fd, &digit, 1);
	while (length < 0 && errno == EINTR);
	if (length < 0) error = -errno;
	/* A file that is mounted over the setting is trusted only if it says that the setting is on. */
	else if (digit < '0' || digit > '9' || (digit != '1' && procfs_check(fd, 0) < 0)) error = -EXDEV;
	close(fd);
	return error < 0 ? error : digit - '0';
}

int sysctl_suid_dumpable(void)
{
	int digit = sysctl_digit(SYS "fs/suid_dumpable");

	return digit == -ENOENT ? 0 : digit;
}
