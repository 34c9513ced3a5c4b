/*
 * The least system calls for the descriptor of a namespace. `descriptor cached`: duplicates it and closes the duplicate.
 * `descriptor reads PID`: opens the namespace of a process and reads its maps. `descriptor joined PID PROGRAM`: reads the
 * maps from outside while PROGRAM (userns-join) is inside. The last argument is the number of rounds.
 */
#include "measure.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

static int ns;
static int pid;
static const char *program;

static void duplicate(void)
{
	int copy = fcntl(ns, F_DUPFD_CLOEXEC, 0);

	if (copy < 0) die("fcntl");
	close(copy);
}

static int open_of(int process, const char *name)
{
	char path[40];
	int fd;

	snprintf(path, sizeof path, "/proc/%d/%s", process, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) die(path);
	return fd;
}

static void read_maps(int process)
{
	static const char *const names[] = {"uid_map", "gid_map", "setgroups"};
	char text[12288];

	for (int i = 0; i < 3; i++) {
		int fd = open_of(process, names[i]);

		while (read(fd, text, sizeof text) > 0) continue;
		close(fd);
	}
}

static void open_and_read(void)
{
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	int fd = open_of(pid, "ns/user");

	if (pidfd < 0) die("pidfd_open");
	read_maps(pid);
	close(fd);
	close(pidfd);
}

static void join_and_read(void)
{
	char *const arguments[] = {(char *)"userns-join", NULL};
	char *const nothing[] = {NULL};
	int sockets[2];
	int status = -1;
	int child;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0) die("socketpair");
	child = vfork();
	if (child < 0) die("vfork");
	if (child == 0) {
		dup2(sockets[1], 0);
		dup2(ns, 1);
		execve(program, arguments, nothing);
		_exit(1);
	}
	close(sockets[1]);
	if (read(sockets[0], &status, sizeof status) != sizeof status || status != 0) die("the joining program");
	read_maps(child);
	kill(child, SIGKILL);
	if (waitpid(child, NULL, 0) < 0) die("waitpid");
	close(sockets[0]);
}

int main(int count, char **words)
{
	int rounds = atoi(words[count - 1]);

	if (count < 3) return 2;
	pid = count > 3 ? atoi(words[2]) : getpid();
	ns = open_of(pid, "ns/user");
	if (strcmp(words[1], "cached") == 0) measure(duplicate, rounds, 100);
	else if (strcmp(words[1], "reads") == 0) measure(open_and_read, rounds, 1);
	else if (strcmp(words[1], "joined") == 0 && count == 5) {
		program = words[3];
		measure(join_and_read, rounds, 1);
	} else {
		return 2;
	}
	return 0;
}
