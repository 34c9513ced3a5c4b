/*
 * attempt PID JOIN UID GID GROUPS KEEP PATH RAW CHOWN_UID CHOWN_GID
 *
 * Prints the uid and gid that stat(2) returns in the namespace, or -1. Then tries to read, write, execute, create, chown and delete as a
 * process with the IDs, each in a process of its own, and prints the six errnos. It is what explain() is compared with, so it shares
 * nothing with the package. JOIN: namespaces of PID, as CLONE_NEW… flags. KEEP:
 * 1 if uid 0 keeps its capabilities. RAW: the same file for root, to undo the creation and the chown.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *path;
static struct stat original;
static unsigned chown_uid, chown_gid;

static int opens(int flags)
{
	int fd = open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	/* A FIFO without a reader: the permission was there. */
	if (fd < 0 && errno == ENXIO && S_ISFIFO(original.st_mode)) return 0;
	return fd < 0 ? errno : 0;
}

static int attempt(int operation)
{
	char name[4096];
	char *const argv[] = {"x", NULL};

	switch (operation) {
	case 0: return opens(O_RDONLY);
	case 1: return opens(O_WRONLY);
	case 2:
		if (S_ISDIR(original.st_mode)) return chdir(path) < 0 ? errno : 0;
		execve(path, argv, argv + 1);
		return errno == ENOEXEC ? 0 : errno;
	case 3:
		snprintf(name, sizeof name, "%s/new", path);
		return open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644) < 0 ? errno : 0;
	case 4: return chown(path, chown_uid, chown_gid) < 0 ? errno : 0;
	default: return (S_ISDIR(original.st_mode) ? rmdir(path) : unlink(path)) < 0 ? errno : 0;
	}
}

static void must(int condition, const char *what)
{
	if (condition) return;
	perror(what);
	_exit(99);
}

static void enter(char **argv)
{
	int join = atoi(argv[2]);
	int process;

	must(setgroups(0, NULL) == 0, "setgroups");
	if (join == 0) return;
	process = syscall(SYS_pidfd_open, atoi(argv[1]), 0);
	must(process >= 0 && setns(process, join) == 0, "setns");
}

static void show_owner(void)
{
	struct stat seen;

	if (stat(path, &seen) == 0) dprintf(1, "%u %u ", seen.st_uid, seen.st_gid);
	else dprintf(1, "-1 -1 ");
}

static void become(char **argv)
{
	gid_t groups[16];
	int count = 0;
	unsigned uid = strtoul(argv[3], NULL, 10), gid = strtoul(argv[4], NULL, 10);

	enter(argv);
	for (char *group = strtok(argv[5], ","); group != NULL; group = strtok(NULL, ",")) groups[count++] = strtoul(group, NULL, 10);
	must(count == 0 || setgroups(count, groups) == 0, "setgroups");
	must(setresgid(gid, gid, gid) == 0, "setresgid");
	must(setresuid(uid, uid, uid) == 0, "setresuid");
	if (uid != 0 || argv[6][0] != '1') {
		struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
		struct __user_cap_data_struct none[2] = {{0, 0, 0}, {0, 0, 0}};

		must(syscall(SYS_capset, &header, none) == 0, "capset");
	}
}

int main(int argc, char **argv)
{
	char name[4096];

	if (argc != 11 || stat(argv[8], &original) < 0) return 98;
	path = argv[7];
	chown_uid = strtoul(argv[9], NULL, 10);
	chown_gid = strtoul(argv[10], NULL, 10);
	for (int operation = -1; operation < 6; operation++) {
		int status;
		pid_t pid = fork();

		if (pid == 0) {
			if (operation < 0) {
				enter(argv);
				show_owner();
				_exit(0);
			}
			umask(0);
			become(argv);
			_exit(attempt(operation));
		}
		waitpid(pid, &status, 0);
		if (!WIFEXITED(status)) return 97;
		if (operation < 0) continue;
		printf("%d ", WEXITSTATUS(status));
		if (operation == 3 && WEXITSTATUS(status) == 0) {
			snprintf(name, sizeof name, "%s/new", argv[8]);
			unlink(name);
		}
		if (operation == 4 && WEXITSTATUS(status) == 0) {
			must(chown(argv[8], original.st_uid, original.st_gid) == 0, "undo chown");
			must(chmod(argv[8], original.st_mode & 07777) == 0, "undo chmod");
		}
	}
	return 0;
}
