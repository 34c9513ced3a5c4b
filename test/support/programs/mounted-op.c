/*
 * Does file operations as other users, which Node cannot: it has no setfsuid(2), and its threads would share a
 * setuid(2).
 *
 * Each line on standard input has uid, gid, supplementary gids ("-" or a list with commas), "all" or "none" (the
 * effective capabilities), an operation and its arguments, separated by tabs. The program answers each line with a line
 * of JSON with `errno` (0 is success) and the results. Paths are relative to the working directory, so the folders
 * above it need no permissions.
 *
 * fsuid and fsgid decide about files, and the process stays root's, so that one process can act as every user in turn.
 * exec differs: a child really becomes the user, in the user namespace of the last argument's descriptor.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#define MOST_ARGS 12
#define MOST_GROUPS 8
#define XATTR_SIZE 4096

static struct __user_cap_data_struct permitted[2];

static void use_capabilities(int all)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
	struct __user_cap_data_struct data[2];

	memcpy(data, permitted, sizeof data);
	for (int i = 0; i < 2; i++) data[i].effective = all ? permitted[i].permitted : 0;
	if (syscall(SYS_capset, &header, data) < 0) exit(3);
}

static void become(uid_t uid, gid_t gid, const gid_t *groups, size_t count, int all)
{
	use_capabilities(1);
	if (setgroups(count, groups) < 0) exit(4);
	setfsgid(gid);
	setfsuid(uid); /* leaving 0 removes the file capabilities from the effective set, so this comes after it */
	if (setfsgid((gid_t)-1) != (int)gid || setfsuid((uid_t)-1) != (int)uid) exit(5);
	use_capabilities(all);
}

static uint32_t number(const char *text)
{
	return (uint32_t)strtoul(text, NULL, 0);
}

/* A minus sign means "unchanged". */
static uint32_t id(const char *text)
{
	return strcmp(text, "-") == 0 ? (uint32_t)-1 : number(text);
}

static size_t list_of_groups(char *text, gid_t *groups)
{
	size_t count = 0;

	if (strcmp(text, "-") == 0) return 0;
	for (char *at = strtok(text, ","); at != NULL && count < MOST_GROUPS; at = strtok(NULL, ",")) {
		groups[count++] = number(at);
	}
	return count;
}

static void report(int result)
{
	printf("{\"errno\":%d}\n", result < 0 ? errno : 0);
}

static void tell_stat(int result, const struct stat *found)
{
	if (result < 0) return report(result);
	printf("{\"errno\":0,\"uid\":%u,\"gid\":%u,\"mode\":%u,\"nlink\":%lu}\n", found->st_uid, found->st_gid,
	       found->st_mode & 07777, (unsigned long)found->st_nlink);
}

static int close_it(int fd)
{
	if (fd >= 0) close(fd);
	return fd;
}

/* An unnamed file in a directory, and a name for it at the end if one is given. Prints the result of fstat(2). */
static void tmpfile_in(const char *directory, mode_t mode, const char *name)
{
	struct stat found;
	char path[64];
	int result = 0;
	int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, mode);

	if (fd < 0) return report(fd);
	if (name != NULL) {
		snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
		result = linkat(AT_FDCWD, path, AT_FDCWD, name, AT_SYMLINK_FOLLOW);
	}
	if (result == 0) result = fstat(fd, &found);
	tell_stat(result, &found);
	close(fd);
}

static void get_xattr(const char *path, const char *name)
{
	unsigned char value[XATTR_SIZE];
	/* Linux 6.1 returns the IDs on disk if the buffer has not the size of some ACL (posix_acl_getxattr_idmapped_mnt()). */
	ssize_t size = lgetxattr(path, name, NULL, 0);
	ssize_t length = size < 0 || size > XATTR_SIZE ? -1 : lgetxattr(path, name, value, size);

	if (length < 0) return report(-1);
	printf("{\"errno\":0,\"value\":\"");
	for (ssize_t i = 0; i < length; i++) printf("%02x", value[i]);
	printf("\"}\n");
}

static void set_xattr(const char *path, const char *name, const char *hex)
{
	unsigned char value[XATTR_SIZE];
	size_t length = strlen(hex) / 2;
	unsigned byte;

	for (size_t i = 0; i < length && i < sizeof value; i++) {
		if (sscanf(hex + 2 * i, "%2x", &byte) != 1) exit(6);
		value[i] = (unsigned char)byte;
	}
	report(lsetxattr(path, name, value, length, 0));
}

/* In the child: from here on it cannot become root again. */
__attribute__((noreturn)) static void run_as(uid_t uid, gid_t gid, int namespace, const char *program, int out)
{
	char *arguments[] = {(char *)program, NULL};
	int error;

	/* No process of the namespace may trace this one while it is root outside (as in CVE-2016-9962). */
	if (namespace >= 0) {
		prctl(PR_SET_DUMPABLE, 0);
		if (setns(namespace, CLONE_NEWUSER) < 0) _exit(7);
	}
	if (syscall(SYS_setresgid, gid, gid, gid) < 0 || syscall(SYS_setresuid, uid, uid, uid) < 0) _exit(8);
	if (dup2(out, STDOUT_FILENO) < 0) _exit(9);
	execve(program, arguments, arguments + 1);
	error = errno;
	dprintf(STDOUT_FILENO, "{\"errno\":%d}\n", error);
	_exit(0);
}

/* The program writes the line itself: test/support/programs/show-ids.c. */
static void execute(const char *program, uid_t uid, gid_t gid, int namespace)
{
	char text[256];
	size_t length = 0;
	ssize_t count;
	int ends[2];
	int status;
	pid_t pid;

	fflush(stdout);
	if (pipe2(ends, O_CLOEXEC) < 0) exit(10);
	pid = fork();
	if (pid < 0) exit(11);
	if (pid == 0) run_as(uid, gid, namespace, program, ends[1]);
	close(ends[1]);
	while ((count = read(ends[0], text + length, sizeof text - length)) > 0) length += (size_t)count;
	close(ends[0]);
	if (waitpid(pid, &status, 0) != pid || status != 0) exit(12);
	fwrite(text, 1, length, stdout);
}

static void touch(const char *path, int flags, mode_t mode)
{
	report(close_it(open(path, flags | O_CLOEXEC | O_NONBLOCK, mode)));
}

static void operate(const char *what, char **args, int count, uid_t uid, gid_t gid)
{
	static const struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
	struct stat found;
	char target[256];
	ssize_t length;

	if (strcmp(what, "stat") == 0) return tell_stat(lstat(args[0], &found), &found);
	if (strcmp(what, "read") == 0) return touch(args[0], O_RDONLY, 0);
	if (strcmp(what, "write") == 0) return touch(args[0], O_WRONLY, 0);
	if (strcmp(what, "truncate") == 0) return report(truncate(args[0], 0));
	if (strcmp(what, "create") == 0) return touch(args[0], O_WRONLY | O_CREAT | O_EXCL, number(args[1]));
	if (strcmp(what, "mkdir") == 0) return report(mkdir(args[0], number(args[1])));
	if (strcmp(what, "mkfifo") == 0) return report(mknod(args[0], S_IFIFO | number(args[1]), 0));
	if (strcmp(what, "symlink") == 0) return report(symlink("target", args[0]));
	if (strcmp(what, "link") == 0) return report(link(args[0], args[1]));
	if (strcmp(what, "rename") == 0) return report(rename(args[0], args[1]));
	if (strcmp(what, "unlink") == 0) return report(unlink(args[0]));
	if (strcmp(what, "chmod") == 0) return report(chmod(args[0], number(args[1])));
	if (strcmp(what, "utimes") == 0) return report(utimensat(AT_FDCWD, args[0], times, AT_SYMLINK_NOFOLLOW));
	if (strcmp(what, "chown") == 0) return report(lchown(args[0], id(args[1]), id(args[2])));
	if (strcmp(what, "tmpfile") == 0) return tmpfile_in(args[0], number(args[1]), count > 2 ? args[2] : NULL);
	if (strcmp(what, "getxattr") == 0) return get_xattr(args[0], args[1]);
	if (strcmp(what, "setxattr") == 0) return set_xattr(args[0], args[1], args[2]);
	if (strcmp(what, "exec") == 0) return execute(args[0], uid, gid, count > 1 ? atoi(args[1]) : -1);
	if (strcmp(what, "readlink") == 0) {
		length = readlink(args[0], target, sizeof target);
		if (length < 0) return report(-1);
		printf("{\"errno\":0,\"value\":\"%.*s\"}\n", (int)length, target);
		return;
	}
	fprintf(stderr, "there is no operation %s\n", what);
	exit(13);
}

int main(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
	gid_t groups[MOST_GROUPS];
	char *line = NULL;
	size_t size = 0;
	ssize_t length;

	if (syscall(SYS_capget, &header, permitted) < 0) return 2;
	umask(0);
	while ((length = getline(&line, &size, stdin)) > 0) {
		char *args[MOST_ARGS + 1] = {NULL};
		char *rest = line;
		int count = 0;
		size_t members;

		line[length - 1] = '\0';
		while (count < MOST_ARGS && (args[count] = strsep(&rest, "\t")) != NULL) count++;
		if (count < 5) return 14;
		members = list_of_groups(args[2], groups);
		if (strcmp(args[4], "exec") != 0) {
			become(number(args[0]), number(args[1]), groups, members, strcmp(args[3], "all") == 0);
		}
		operate(args[4], args + 5, count - 5, number(args[0]), number(args[1]));
		become(0, 0, NULL, 0, 1);
	}
	free(line);
	return 0;
}
