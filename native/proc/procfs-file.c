#include "proc/procfs-file.h"
#include "kernel/auto-close.h"
#include "kernel/kernel-abi.h"
#include "kernel/portable.h"
#include <errno.h>
#include <sys/stat.h>
#include <sys/statfs.h>

/* The inode number of the root of a procfs: PROC_ROOT_INO in include/linux/proc_fs.h. */
#define PROC_ROOT_INO 1

int procfs_check(int fd, int root)
{
	struct statfs fs;
	struct stat st;

	if (fstatfs(fd, &fs) < 0) return -errno;
	if (fs.f_type != USERNS_PROC_SUPER_MAGIC) return -EXDEV;
	if (!root) return 0;
	if (portable_fstat(fd, &st) < 0) return -errno;
	return st.st_ino == PROC_ROOT_INO ? 0 : -EXDEV;
}

int procfs_open_below(int directory, const char *name, int flags)
{
	struct userns_open_how how = {
		.flags = (uint64_t)(unsigned)flags | O_CLOEXEC,
		.resolve = USERNS_RESOLVE_NO_XDEV | USERNS_RESOLVE_NO_MAGICLINKS | USERNS_RESOLVE_BENEATH,
	};
	AUTO_CLOSE int fd = (int)syscall(SYS_openat2, directory, name, &how, sizeof how);
	int error = 0;

	if (fd < 0) {
		if (errno != ENOSYS) return -errno;
		fd = openat(directory, name, flags | O_CLOEXEC); /* before Linux 5.6, or a seccomp filter */
		error = fd < 0 ? -errno : procfs_check(fd, 0);
	}
	return error < 0 ? error : take_fd(&fd);
}

int procfs_write(int process, const char *file, const char *text, size_t length)
{
	AUTO_CLOSE int fd = procfs_open_below(process, file, O_WRONLY);
	ssize_t written;

	if (fd < 0) return fd;
	/* One write(2), because a map can be written only once. */
	do written = write(fd, text, length);
	while (written < 0 && errno == EINTR);
	if (written < 0) return -errno;
	return (size_t)written == length ? 0 : -EIO;
}

long procfs_read_open(int fd, char *text, size_t size)
{
	size_t length = 0;
	ssize_t got = 1;

	while (got != 0 && length < size - 1) {
		got = read(fd, text + length, size - 1 - length);
		if (got < 0 && errno != EINTR) break;
		if (got > 0) length += (size_t)got;
	}
	text[length] = '\0';
	if (got < 0) return -errno;
	return got == 0 ? (long)length : -EFBIG;
}

long procfs_read(int process, const char *file, char *text, size_t size)
{
	AUTO_CLOSE int fd = procfs_open_below(process, file, O_RDONLY);

	return fd < 0 ? fd : procfs_read_open(fd, text, size);
}
