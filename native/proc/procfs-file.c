#include "proc/procfs-file.h"
#include "kernel/kernel-abi.h"
#include <errno.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

/* The inode number of a procfs root: PROC_ROOT_INO in include/linux/proc_fs.h. */
#define PROC_ROOT_INO 1

int procfs_check(int fd, int root)
{
	struct statfs fs;
	struct stat st;

	if (fstatfs(fd, &fs) < 0) return -errno;
	if (fs.f_type != USERNS_PROC_SUPER_MAGIC) return -EXDEV;
	if (!root) return 0;
	if (fstat(fd, &st) < 0) return -errno;
	return st.st_ino == PROC_ROOT_INO ? 0 : -EXDEV;
}

int procfs_open_below(int directory, const char *name, int flags)
{
	struct userns_open_how how = {
		.flags = (uint64_t)(unsigned)flags | O_CLOEXEC,
		.resolve = USERNS_RESOLVE_NO_XDEV | USERNS_RESOLVE_NO_MAGICLINKS | USERNS_RESOLVE_BENEATH,
	};
	int fd = (int)syscall(SYS_openat2, directory, name, &how, sizeof how);
	int error;

	if (fd >= 0) return fd;
	if (errno != ENOSYS) return -errno;
	fd = openat(directory, name, flags | O_CLOEXEC); /* before Linux 5.6, or a seccomp filter */
	if (fd < 0) return -errno;
	error = procfs_check(fd, 0);
	if (error < 0) {
		close(fd);
		return error;
	}
	return fd;
}

int procfs_write(int process, const char *file, const char *text, size_t length)
{
	int fd = procfs_open_below(process, file, O_WRONLY);
	ssize_t written;
	int error = 0;

	if (fd < 0) return fd;
	/* One write for all: a map can be written once only, and a second write would begin a new one. */
	do written = write(fd, text, length);
	while (written < 0 && errno == EINTR);
	if (written < 0) error = -errno;
	else if ((size_t)written != length) error = -EIO;
	close(fd);
	return error;
}

long procfs_read_open(int fd, char *text, size_t size)
{
	size_t length = 0;
	long error = 0;

	for (;;) {
		ssize_t got = read(fd, text + length, size - 1 - length);
		if (got < 0 && errno == EINTR) continue;
		if (got < 0) error = -errno;
		if (got <= 0) break;
		length += (size_t)got;
		if (length == size - 1) {
			error = -EFBIG;
			break;
		}
	}
	text[length] = '\0';
	return error < 0 ? error : (long)length;
}

long procfs_read(int process, const char *file, char *text, size_t size)
{
	int fd = procfs_open_below(process, file, O_RDONLY);
	long length;

	if (fd < 0) return fd;
	length = procfs_read_open(fd, text, size);
	close(fd);
	return length;
}

int procfs_open_file(int process, const char *file)
{
	return procfs_open_below(process, file, O_RDONLY);
}
