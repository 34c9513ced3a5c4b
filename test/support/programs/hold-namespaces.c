/*
 * hold-namespaces COUNT DIRECTORY: makes COUNT user namespaces for each way in which one can be held, and prints a line for each: the
 * way, the inode number, and the number of the process or descriptor that holds it. Namespace I of all has the map "0 3000000+I 1"; the
 * one below a namespace of the way "child" has "5 0 1" to its parent.
 * Prints "ready" and waits. DIRECTORY is for the files on which namespaces are mounted. Everything ends with this process.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int made;
static const char *directory;

static void check(int is_good, const char *what)
{
	if (is_good) return;
	perror(what);
	exit(1);
}

static void write_file(pid_t process, const char *file, const char *text)
{
	char name[64];
	ssize_t length = (ssize_t)strlen(text);

	snprintf(name, sizeof name, "/proc/%d/%s", process, file);
	int fd = open(name, O_WRONLY | O_CLOEXEC);
	check(fd >= 0 && write(fd, text, (size_t)length) == length, name);
	close(fd);
}

static int open_namespace(pid_t child, const char *kind)
{
	char name[64];

	snprintf(name, sizeof name, "/proc/%d/ns/%s", child, kind);
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	check(fd >= 0, name);
	return fd;
}

static unsigned long inode_of(int fd)
{
	struct stat st;

	check(fstat(fd, &st) == 0, "fstat");
	return (unsigned long)st.st_ino;
}

static void live(int flags, int nested, int up, int down)
{
	char byte = 0;

	/* Without the descriptors that hold other namespaces. */
	check(dup2(down, 0) == 0 && dup2(up, 1) == 1 && syscall(SYS_close_range, 3, ~0U, 0) == 0, "close_range");
	check(unshare(CLONE_NEWUSER | flags) == 0, "unshare");
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	check(write(1, &byte, 1) == 1 && read(0, &byte, 1) == 1, "child");
	if (nested) {
		check(setresgid(0, 0, 0) == 0 && setresuid(0, 0, 0) == 0, "setresuid");
		check(unshare(CLONE_NEWUSER) == 0, "unshare nested");
		/* A change of the IDs resets both. The files in /proc of a process that is not dumpable belong to the host's root. */
		check(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && prctl(PR_SET_DUMPABLE, 1) == 0, "prctl");
		write_file(getpid(), "uid_map", "5 0 1\n");
		write_file(getpid(), "setgroups", "deny");
		write_file(getpid(), "gid_map", "5 0 1\n");
	}
	check(write(1, &byte, 1) == 1, "child");
	for (;;) pause();
}

/* A process in a new user namespace with a map; with `nested`, it then moves to a namespace below. Stores the descriptor of the first. */
static pid_t make(int flags, int nested, int *ns)
{
	int up[2];
	int down[2];
	char map[64];
	char byte = 0;

	check(pipe2(up, O_CLOEXEC) == 0 && pipe2(down, O_CLOEXEC) == 0, "pipe2");
	fflush(stdout);
	pid_t child = fork();
	check(child >= 0, "fork");
	if (child == 0) live(flags, nested, up[1], down[0]);
	close(up[1]); /* so that the end of the child ends the reads below */
	check(read(up[0], &byte, 1) == 1, "read");
	snprintf(map, sizeof map, "0 %d 1\n", 3000000 + made);
	write_file(child, "uid_map", map);
	write_file(child, "gid_map", map);
	made++;
	*ns = open_namespace(child, "user");
	check(write(down[1], &byte, 1) == 1 && read(up[0], &byte, 1) == 1, "go on");
	close(up[0]);
	close(down[0]);
	close(down[1]);
	return child;
}

static void end(pid_t child)
{
	kill(child, SIGKILL);
	check(waitpid(child, NULL, 0) == child, "waitpid");
}

static void mount_on_file(pid_t child, int fd)
{
	char from[64];
	char to[4096];

	snprintf(from, sizeof from, "/proc/%d/ns/user", child);
	snprintf(to, sizeof to, "%s/%d", directory, made);
	int file = open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	check(file >= 0, to);
	close(file);
	check(mount(from, to, NULL, MS_BIND, NULL) == 0, "mount");
	close(fd);
}

static int sockets[2];

static void send_away(int fd)
{
	char byte = 0;
	struct iovec data = {&byte, 1};
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};

	control.header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof fd), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
	memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
	check(sendmsg(sockets[0], &message, 0) == 1, "sendmsg");
	close(fd);
}

static void hold(const char *way)
{
	const int is_nested = strcmp(way, "child") == 0;
	const int is_owner = strcmp(way, "other") == 0;
	int fd;
	pid_t child = make(is_owner ? CLONE_NEWUTS : 0, is_nested, &fd);
	unsigned long inode = inode_of(fd);
	int number = child;

	if (strcmp(way, "descriptor") == 0) {
		end(child);
		number = fd;
	} else if (strncmp(way, "mount", 5) == 0) {
		mount_on_file(child, fd);
		end(child);
		number = getpid();
	} else if (strcmp(way, "flight") == 0) {
		end(child);
		send_away(fd);
		number = 0;
	} else if (is_owner) {
		number = open_namespace(child, "uts");
		end(child);
		close(fd);
	} else {
		close(fd);
		if (strcmp(way, "zombie") == 0) {
			siginfo_t info;

			kill(child, SIGKILL);
			check(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT) == 0, "waitid");
		}
	}
	printf("%s %lu %d\n", way, inode, number);
}

/* Mounts that no other process sees. */
static void hold_elsewhere(int count)
{
	int done[2];
	char byte = 0;

	check(pipe2(done, O_CLOEXEC) == 0, "pipe2");
	fflush(stdout);
	pid_t child = fork();
	check(child >= 0, "fork");
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		check(dup2(done[1], 3) == 3 && syscall(SYS_close_range, 4, ~0U, 0) == 0, "close_range");
		check(unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0, "unshare");
		for (int i = 0; i < count; i++) hold("mount-elsewhere");
		fflush(stdout);
		check(write(3, &byte, 1) == 1, "write");
		for (;;) pause();
	}
	close(done[1]);
	check(read(done[0], &byte, 1) == 1, "read");
}

int main(int argc, char **argv)
{
	static const char *const ways[] = {"process", "descriptor", "mount", "child", "zombie", "flight", "other"};

	check(argc == 3, "arguments");
	directory = argv[2];
	check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0, "socketpair");
	const int count = atoi(argv[1]);
	for (size_t way = 0; way < sizeof ways / sizeof *ways; way++) {
		for (int i = 0; i < count; i++) hold(ways[way]);
	}
	hold_elsewhere(count);
	puts("ready");
	fflush(stdout);
	for (;;) pause();
}
