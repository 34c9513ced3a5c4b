#include "procfs.h"
#include "compat.h"
#include "procfs-own.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

/* The inode number of a procfs root: PROC_ROOT_INO in include/linux/proc_fs.h. */
#define PROC_ROOT_INO 1

/* A file that only looks like /proc takes our maps and tells lies: runc's CVE-2019-19921, CVE-2025-52881 and others. */
static int check_procfs(int fd, int root)
{
	struct statfs fs;
	struct stat st;

	if (fstatfs(fd, &fs) < 0) return -errno;
	if (fs.f_type != USERNS_PROC_SUPER_MAGIC) return -EXDEV;
	if (!root) return 0;
	if (fstat(fd, &st) < 0) return -errno;
	return st.st_ino == PROC_ROOT_INO ? 0 : -EXDEV;
}

/* Opens a name below a procfs without crossing a mount: something may lie on top of a file in /proc. */
static int open_below(int directory, const char *name, int flags)
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
	error = check_procfs(fd, 0);
	if (error < 0) {
		close(fd);
		return error;
	}
	return fd;
}

/* Decimal digits of a number that is not negative, at the end of a text that has room for them. */
static void append_number(char *text, int number)
{
	char digits[12];
	int count = 0;

	do {
		digits[count++] = (char)('0' + number % 10);
		number /= 10;
	} while (number > 0);
	text += strlen(text);
	while (count > 0) *text++ = digits[--count];
	*text = '\0';
}

int procfs_open(void)
{
	int fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int error;

	if (fd < 0) return -errno;
	error = check_procfs(fd, 1);
	if (error < 0) {
		close(fd);
		return error;
	}
	return fd;
}

int procfs_open_self(void)
{
	int root = procfs_open();
	int self = root;

	if (root >= 0) {
		self = open_below(root, "thread-self", O_PATH | O_DIRECTORY);
		close(root);
	}
	return self;
}

/* A procfs of our own pid namespace that nobody else sees and that is gone with its descriptor. */
static int make_private_procfs(void)
{
	int context = (int)syscall(SYS_fsopen, "proc", USERNS_FSOPEN_CLOEXEC);
	int fd;

	if (context < 0) return -errno;
	if (syscall(SYS_fsconfig, context, USERNS_FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0) fd = -errno;
	else {
		fd = (int)syscall(SYS_fsmount, context, USERNS_FSMOUNT_CLOEXEC, 0);
		if (fd < 0) fd = -errno;
	}
	close(context);
	return fd;
}

/*
 * The number of the process in the pid namespace of this procfs, from the pidfd's fdinfo (fs/pidfs.c,
 * pidfd_show_fdinfo). Negative: the process is reaped or not visible there.
 */
static int number_in(int root, int pidfd)
{
	char name[64] = "thread-self/fdinfo/";
	char text[1024];
	const char *line;
	long number;
	long length;

	append_number(name, pidfd);
	length = procfs_read(root, name, text, sizeof text);
	if (length < 0) return (int)length;
	line = strstr(text, "\nPid:");
	if (line == NULL) return -EXDEV;
	number = strtol(line + strlen("\nPid:"), NULL, 10);
	return number > 0 && number <= 0x7fffffff ? (int)number : -ESRCH;
}

/* Signal 0 sends nothing. Other answers than ESRCH are no sign of its end: EPERM for another's, ENOSYS from a filter. */
static int is_reaped(int pidfd)
{
	return syscall(SYS_pidfd_send_signal, pidfd, 0, NULL, 0) < 0 && errno == ESRCH;
}

/* Whether the number was the process's when the folder was opened: nobody has reaped it by now. It is closed otherwise. */
static int check_process(int process, int pidfd)
{
	if (process < 0 || !is_reaped(pidfd)) return process;
	close(process);
	return -ESRCH;
}

/* `number` is what this procfs calls the process, or a negative errno. */
static int open_process_below(int root, int pidfd, int number)
{
	char name[16] = "";

	if (number < 0) return number;
	append_number(name, number);
	return check_process(open_below(root, name, O_PATH | O_DIRECTORY | O_NOFOLLOW), pidfd);
}

/*
 * The folder on the mount that is known, in one go. No link was followed, and what was found is on that very mount, whose
 * root has a folder with a number as its name for processes only. Negative: another way.
 */
static int open_known(int pidfd, int number)
{
	struct userns_open_how how = {
		.flags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
		.resolve = USERNS_RESOLVE_NO_SYMLINKS,
	};
	char name[24] = "/proc/";
	int process;

	if (number <= 0) return -ENOENT;
	append_number(name, number);
	process = (int)syscall(SYS_openat2, AT_FDCWD, name, &how, sizeof how);
	if (process < 0) return -errno;
	if (procfs_is_known(process)) return check_process(process, pidfd);
	close(process);
	return -EXDEV;
}

int procfs_number(int pidfd)
{
	int root = procfs_open();
	int number = root;

	if (root >= 0) {
		number = number_in(root, pidfd);
		close(root);
	}
	return number;
}

static int open_in_proc(int pidfd, int number)
{
	int root = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int process;

	if (root < 0) return -errno;
	process = check_procfs(root, 1);
	if (process == 0) {
		if (number <= 0 || !procfs_is_own(root)) number = number_in(root, pidfd);
		process = open_process_below(root, pidfd, number);
	}
	close(root);
	return process;
}

int procfs_open_process(int pidfd, int number)
{
	int process = open_known(pidfd, number);
	int root;

	if (process < 0) process = open_in_proc(pidfd, number);
	if (process >= 0 || process == -EMFILE || process == -ENFILE || process == -ENOMEM) return process;
	root = make_private_procfs();
	if (root < 0) return process; /* why /proc itself was no use says more */
	process = open_process_below(root, pidfd, number_in(root, pidfd));
	close(root);
	return process;
}

int procfs_own_fd(int fd, char name[PROCFS_NAME])
{
	struct statfs fs;

	if (statfs("/proc/thread-self", &fs) < 0) return -errno;
	if (fs.f_type != USERNS_PROC_SUPER_MAGIC) return -EXDEV;
	strcpy(name, "/proc/thread-self/fd/");
	append_number(name, fd);
	return 0;
}

int procfs_write(int process, const char *file, const char *text, size_t length)
{
	int fd = open_below(process, file, O_WRONLY);
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
	int fd = open_below(process, file, O_RDONLY);
	long length;

	if (fd < 0) return fd;
	length = procfs_read_open(fd, text, size);
	close(fd);
	return length;
}

int procfs_open_file(int process, const char *file)
{
	return open_below(process, file, O_RDONLY);
}

int procfs_suid_dumpable(void)
{
	char text[4] = "";
	int fd = open("/proc/sys/fs/suid_dumpable", O_RDONLY | O_CLOEXEC);
	ssize_t length;
	int error;

	if (fd < 0) return -errno;
	do length = read(fd, text, 1);
	while (length < 0 && errno == EINTR);
	error = length < 0 ? -errno : 0;
	close(fd);
	if (error < 0) return error;
	return length == 1 && text[0] >= '0' && text[0] <= '9' ? text[0] - '0' : -EINVAL;
}
