#include "procfs.h"
#include "compat.h"
#include <errno.h>
#include <stdatomic.h>
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

/*
 * The mount that was found to be a procfs of our own pid namespace; 0: none yet. None of it can change afterwards: a
 * procfs belongs to one pid namespace, a mount to one file system, a process to one pid namespace (unshare(2) moves its
 * children only), and a unique mount number is never given again, as a device's or an inode's is.
 */
static _Atomic uint64_t own_mount;

/* The unique number of the mount whose root /proc is, or 0: before Linux 6.8, or not the root of a procfs. */
static uint64_t unique_mount(int root)
{
	struct statx answer;

	if (statx(root, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO | USERNS_STATX_MNT_ID_UNIQUE, &answer) < 0) {
		return 0;
	}
	/* A link at /proc could lead somewhere below the root of a mount that is known. */
	if ((answer.stx_mask & USERNS_STATX_MNT_ID_UNIQUE) == 0 || answer.stx_ino != PROC_ROOT_INO) return 0;
	return answer.stx_mnt_id;
}

/*
 * 1 when this procfs shows us under one number, our own: NSpid has one for each pid namespace from that of the procfs
 * down to ours (proc_pid_status() in fs/proc/array.c).
 */
static int shows_own_numbers(int root)
{
	char text[8192];
	const char *line;

	if (procfs_read(root, "thread-self/status", text, sizeof text) < 0) return 0;
	line = strstr(text, "\nNSpid:\t");
	if (line == NULL) return 0;
	line += strlen("\nNSpid:\t");
	return line[strcspn(line, "\t\n")] == '\n';
}

static int is_own(int root)
{
	uint64_t mount = unique_mount(root);

	if (mount == 0) return 0;
	if (mount == atomic_load_explicit(&own_mount, memory_order_relaxed)) return 1;
	if (check_procfs(root, 1) < 0 || !shows_own_numbers(root)) return 0;
	atomic_store_explicit(&own_mount, mount, memory_order_relaxed);
	return 1;
}

/* `number` is what this procfs calls the process, or a negative errno. */
static int open_process_below(int root, int pidfd, int number)
{
	char name[16] = "";
	int process;

	if (number < 0) return number;
	append_number(name, number);
	process = open_below(root, name, O_PATH | O_DIRECTORY | O_NOFOLLOW);
	/* The number was still the process's when the folder was opened, if nobody has reaped it by now. */
	if (process < 0 || !is_reaped(pidfd)) return process;
	close(process);
	return -ESRCH;
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

/*
 * The same in one look-up, where /proc is the mount that is known: no link was followed, and what was found lies on that
 * very mount, whose root has a folder with a number as its name for processes only. −1: in the longer way.
 */
static int open_at_once(int pidfd, int number)
{
	struct userns_open_how how = {
		.flags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
		.resolve = USERNS_RESOLVE_NO_SYMLINKS,
	};
	uint64_t known = atomic_load_explicit(&own_mount, memory_order_relaxed);
	char name[24] = "/proc/";
	struct statx answer;
	int process;

	if (known == 0) return -1;
	append_number(name, number);
	process = (int)syscall(SYS_openat2, AT_FDCWD, name, &how, sizeof how);
	if (process < 0) return -1;
	if (statx(process, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, USERNS_STATX_MNT_ID_UNIQUE, &answer) == 0 &&
	    answer.stx_mnt_id == known && !is_reaped(pidfd)) {
		return process;
	}
	close(process);
	return -1;
}

static int open_in_proc(int pidfd, int number)
{
	int process = number > 0 ? open_at_once(pidfd, number) : -1;
	int root;

	if (process >= 0) return process;
	root = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0) return -errno;
	if (number > 0 && is_own(root)) process = open_process_below(root, pidfd, number);
	else {
		process = check_procfs(root, 1);
		if (process == 0) process = open_process_below(root, pidfd, number_in(root, pidfd));
	}
	close(root);
	return process;
}

int procfs_open_process(int pidfd, int number)
{
	int process = open_in_proc(pidfd, number);
	int root;

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

long procfs_read(int process, const char *file, char *text, size_t size)
{
	int fd = open_below(process, file, O_RDONLY);
	size_t length = 0;
	long error = 0;

	if (fd < 0) return fd;
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
	close(fd);
	text[length] = '\0';
	return error < 0 ? error : (long)length;
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
