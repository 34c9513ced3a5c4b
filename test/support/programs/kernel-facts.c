/*
 * kernel-facts [FOLDER…]: asks the kernel for the newer calls, without any code of the package. Prints one line for
 * each, "NAME ANSWER": 0, or the errno. For a FOLDER: whether its mount can be ID-mapped. Needs root.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* One number on x86-64 and arm64, defined here because the headers may be older than the kernel. */
#define OPEN_TREE 428
#define PIDFD_OPEN 434
#define CLONE3 435
#define CLOSE_RANGE 436
#define OPENAT2 437
#define MOUNT_SETATTR 442
#define STATMOUNT 457
#define LISTMOUNT 458
#define OPEN_TREE_ATTR 467

#define NS_GET_PARENT _IO(0xb7, 0x2)
#define NS_GET_ID _IOR(0xb7, 13, uint64_t)
#define PIDFD_GET_USER_NAMESPACE _IO(0xff, 9)
#define OPEN_TREE_CLONE 1
#define EMPTY_PATH 0x1000
#define ATTR_IDMAP 0x00100000
#define CLEAR_SIGHAND 0x100000000ULL

struct attr {
	uint64_t set, clear, propagation, userns;
};

static void say(const char *name, long result)
{
	printf("%s %d\n", name, result < 0 ? errno : 0);
}

static void write_to(long pid, const char *file, const char *text)
{
	char path[64];
	int fd;

	snprintf(path, sizeof path, "/proc/%ld/%s", pid, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, text, strlen(text)) < 0) {
		perror(path);
		exit(3);
	}
	close(fd);
}

/* A process in its own user namespace, with these maps or without one kind. It waits to be killed. */
static pid_t inhabitant(const char *uids, const char *gids)
{
	pid_t pid = (pid_t)syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);

	if (pid == 0) {
		for (;;) pause();
	}
	if (pid < 0) exit(4);
	if (uids != NULL) write_to(pid, "uid_map", uids);
	if (gids != NULL) write_to(pid, "gid_map", gids);
	return pid;
}

static int namespace_of(pid_t pid)
{
	char path[64];

	snprintf(path, sizeof path, "/proc/%d/ns/user", (int)pid);
	return open(path, O_RDONLY | O_CLOEXEC);
}

static void map_mount(const char *name, const char *folder, int ns)
{
	struct attr attr = {.set = ATTR_IDMAP, .userns = (uint64_t)ns};
	int tree = (int)syscall(OPEN_TREE, AT_FDCWD, folder, OPEN_TREE_CLONE | O_CLOEXEC);
	char words[256];

	snprintf(words, sizeof words, "%s %s", name, folder);
	say(words, tree < 0 ? tree : syscall(MOUNT_SETATTR, tree, "", EMPTY_PATH, &attr, sizeof attr));
	if (tree >= 0) close(tree);
}

int main(int argc, char **argv)
{
	uint64_t request[8] = {32};
	uint64_t how[3] = {O_RDONLY | O_CLOEXEC, 0, 1};
	uint64_t clone_args[8] = {CLEAR_SIGHAND, 0, 0, 0, SIGCHLD};
	uint64_t id = 0;
	char reply[1024];
	pid_t pid = inhabitant("0 100000 10", "0 100000 10");
	pid_t half = inhabitant("0 100000 10", NULL);
	int ns = namespace_of(pid);
	int half_ns = namespace_of(half);
	int pidfd = (int)syscall(PIDFD_OPEN, pid, 0);
	struct attr attr = {.set = 1 /* MOUNT_ATTR_RDONLY */};
	long child = syscall(CLONE3, clone_args, sizeof clone_args);

	if (child == 0) _exit(0);
	say("clone3 CLONE_CLEAR_SIGHAND", child);
	say("openat2", syscall(OPENAT2, AT_FDCWD, "/", how, sizeof how));
	say("close_range", syscall(CLOSE_RANGE, 1000, 1001, 0));
	say("PIDFD_GET_USER_NAMESPACE", ioctl(pidfd, PIDFD_GET_USER_NAMESPACE, 0));
	say("NS_GET_ID", ioctl(ns, NS_GET_ID, &id));
	say("NS_GET_PARENT", ioctl(ns, NS_GET_PARENT));
	request[1] = 0;
	say("statmount", syscall(STATMOUNT, request, reply, sizeof reply, 0));
	request[1] = UINT64_MAX; /* LSMT_ROOT */
	say("listmount", syscall(LISTMOUNT, request, reply, 1, 0));
	say("open_tree_attr", syscall(OPEN_TREE_ATTR, AT_FDCWD, "/", OPEN_TREE_CLONE | O_CLOEXEC, &attr, sizeof attr));
	for (int i = 1; i < argc; i++) {
		map_mount("idmap", argv[i], ns);
		map_mount("half", argv[i], half_ns);
	}
	kill(pid, SIGKILL);
	kill(half, SIGKILL);
	while (wait(NULL) > 0) {
	}
	return 0;
}
