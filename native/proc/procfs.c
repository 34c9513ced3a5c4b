#include "proc/procfs.h"
#include "kernel/kernel-abi.h"
#include "proc/procfs-file.h"
#include "proc/procfs-pidns.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <unistd.h>

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
	error = procfs_check(fd, 1);
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
		self = procfs_open_below(root, "thread-self", O_PATH | O_DIRECTORY);
		close(root);
	}
	return self;
}

int procfs_make_private(void)
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
	return check_process(procfs_open_below(root, name, O_PATH | O_DIRECTORY | O_NOFOLLOW), pidfd);
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
	process = procfs_check(root, 1);
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
	root = procfs_make_private();
	if (root < 0) return process; /* why /proc itself was no use says more */
	process = open_process_below(root, pidfd, number_in(root, pidfd));
	close(root);
	return process;
}

void procfs_fd_name(int fd, char name[PROCFS_NAME])
{
	strcpy(name, "/proc/thread-self/fd/");
	append_number(name, fd);
}

int procfs_own_fd(int fd, char name[PROCFS_NAME])
{
	struct statfs fs;

	if (statfs("/proc/thread-self", &fs) < 0) return -errno;
	if (fs.f_type != USERNS_PROC_SUPER_MAGIC) return -EXDEV;
	procfs_fd_name(fd, name);
	return 0;
}
