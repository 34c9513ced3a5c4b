#include "proc/procfs.h"
#include "kernel/auto-close.h"
#include "kernel/portable.h"
#include "kernel/statx.h"
#include "proc/procfs-file.h"
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>

/*
 * The unique ID of a mount whose procfs belongs to our own pid namespace, or 0 if none is known yet. It stays valid: a procfs
 * belongs to one pid namespace, a mount to one file system, a process to one pid namespace (unshare(2) moves only its
 * children), and the kernel does not reuse a unique mount ID, as it does device and inode numbers.
 */
static _Atomic uint64_t own_mount;

static uint64_t unique_mount(int fd)
{
	uint64_t unique = 0;

	return statx_unique_id(fd, &unique) < 0 ? 0 : unique;
}

/*
 * Returns 1 if this procfs shows us under one PID, that of our own pid namespace: NSpid has one for each pid namespace from
 * that of the procfs down to ours (proc_pid_status() in fs/proc/array.c).
 */
static int shows_own_numbers(int root)
{
	char text[8192];

	if (procfs_read(root, "thread-self/status", text, sizeof text) < 0) return 0;
	const char *line = strstr(text, "\nNSpid:\t");
	if (line == NULL) return 0;
	line += strlen("\nNSpid:\t");
	return line[strcspn(line, "\t\n")] == '\n';
}

/* Returns 1 if the file is on the mount that is known to have a procfs of our own pid namespace. */
static int is_known(int fd)
{
	uint64_t mount = atomic_load_explicit(&own_mount, memory_order_relaxed);

	return mount != 0 && unique_mount(fd) == mount;
}

/*
 * Returns 1 if the root of a procfs belongs to our own pid namespace. Its mount is known from then on if it has a unique ID (Linux 6.8).
 * The status file is readable for every process: before Linux 5.14, one that is not dumpable may not open its own fdinfo (number_in()).
 */
static int is_own(int root)
{
	if (is_known(root)) return 1;
	if (!shows_own_numbers(root)) return 0;
	uint64_t mount = unique_mount(root);
	if (mount != 0) atomic_store_explicit(&own_mount, mount, memory_order_relaxed);
	return 1;
}

int procfs_open(void)
{
	AUTO_CLOSE int fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int error = fd < 0 ? -errno : procfs_check(fd, 1);

	return error < 0 ? error : take_fd(&fd);
}

int procfs_open_self(void)
{
	AUTO_CLOSE int root = procfs_open();

	return root < 0 ? root : procfs_open_below(root, "thread-self", O_PATH | O_DIRECTORY);
}

int procfs_make_private(void)
{
	AUTO_CLOSE int context = (int)syscall(SYS_fsopen, "proc", USERNS_FSOPEN_CLOEXEC);

	if (context < 0 || syscall(SYS_fsconfig, context, USERNS_FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0) return -errno;
	int fd = (int)syscall(SYS_fsmount, context, USERNS_FSMOUNT_CLOEXEC, 0);
	return fd < 0 ? -errno : fd;
}

/*
 * Returns the PID of the process in the pid namespace of this procfs, from the pidfd's fdinfo (pidfd_show_fdinfo() in
 * fs/pidfs.c), or a negative errno: the process is reaped, or not visible there.
 */
static int number_in(int root, int pidfd)
{
	char name[64];
	char text[1024];

	snprintf(name, sizeof name, "thread-self/fdinfo/%d", pidfd);
	long length = procfs_read(root, name, text, sizeof text);
	if (length < 0) return (int)length;
	const char *line = strstr(text, "\nPid:");
	if (line == NULL) return -EXDEV;
	long number = portable_strtol(line + strlen("\nPid:"), NULL, 10);
	return number > 0 && number <= 0x7fffffff ? (int)number : -ESRCH;
}

/* Sends signal 0, which has no effect. Errors other than ESRCH do not mean its end: EPERM, or ENOSYS from a filter. */
static int is_reaped(int pidfd)
{
	return syscall(SYS_pidfd_send_signal, pidfd, 0, NULL, 0) < 0 && errno == ESRCH;
}

/* Opens the directory of a process. The number was still its own then, because the process is not reaped even now. */
static int open_process_below(int root, int pidfd, int number)
{
	char name[16];
	AUTO_CLOSE int process = -1;

	if (number < 0) return number;
	snprintf(name, sizeof name, "%d", number);
	process = procfs_open_below(root, name, O_PATH | O_DIRECTORY | O_NOFOLLOW);
	return process >= 0 && is_reaped(pidfd) ? -ESRCH : take_fd(&process);
}

/*
 * Opens the directory on the known mount with one system call. No link is followed, and the result is on that very mount,
 * whose root has directories with a number as their name only for processes. After a negative errno the caller uses the
 * general path.
 */
static int open_known(int pidfd, int number)
{
	struct userns_open_how how = {
		.flags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
		.resolve = USERNS_RESOLVE_NO_SYMLINKS,
	};
	char name[24];
	AUTO_CLOSE int process = -1;

	if (number <= 0) return -ENOENT;
	snprintf(name, sizeof name, "/proc/%d", number);
	process = (int)syscall(SYS_openat2, AT_FDCWD, name, &how, sizeof how);
	if (process < 0) return -errno;
	if (!is_known(process)) return -EXDEV;
	return is_reaped(pidfd) ? -ESRCH : take_fd(&process);
}

int procfs_number(int pidfd)
{
	AUTO_CLOSE int root = procfs_open();

	return root < 0 ? root : number_in(root, pidfd);
}

static int open_in_proc(int pidfd, int number)
{
	AUTO_CLOSE int root = procfs_open();

	if (root < 0) return root;
	if (number <= 0 || !is_own(root)) number = number_in(root, pidfd);
	return open_process_below(root, pidfd, number);
}

/*
 * 1. Opens /proc/PID on the mount that is known to have our own PIDs.
 * 2. Otherwise opens /proc, checks it, and finds the number of the process there.
 * 3. Otherwise mounts a private procfs. If that also fails, returns the error of step 2, because it is more precise.
 */
int procfs_open_process(int pidfd, int number)
{
	AUTO_CLOSE int root = -1;
	int process = open_known(pidfd, number);

	if (process < 0) process = open_in_proc(pidfd, number);
	if (process >= 0 || process == -EMFILE || process == -ENFILE || process == -ENOMEM) return process;
	root = procfs_make_private();
	return root < 0 ? process : open_process_below(root, pidfd, number_in(root, pidfd));
}

void procfs_fd_name(int fd, char name[PROCFS_NAME])
{
	snprintf(name, PROCFS_NAME, "/proc/thread-self/fd/%d", fd);
}

int procfs_check_own_path(int fd)
{
	struct statfs fs;
	struct stat own, there;
	char name[32];
	AUTO_CLOSE int found = -1;

	if (statfs("/proc/self/fd", &fs) < 0) return -errno;
	if (fs.f_type != USERNS_PROC_SUPER_MAGIC) return -EXDEV;
	snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
	found = open(name, O_PATH | O_CLOEXEC);
	if (found < 0 || portable_fstat(fd, &own) < 0 || portable_fstat(found, &there) < 0) return -errno;
	return own.st_dev == there.st_dev && own.st_ino == there.st_ino ? 0 : -EXDEV;
}

int procfs_own_fd(int fd, char name[PROCFS_NAME])
{
	struct statfs fs;

	if (statfs("/proc/thread-self", &fs) < 0) return -errno;
	if (fs.f_type != USERNS_PROC_SUPER_MAGIC) return -EXDEV;
	procfs_fd_name(fd, name);
	return 0;
}
