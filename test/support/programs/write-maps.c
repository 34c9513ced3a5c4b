/*
 * For each text on standard input (its length in four bytes, then its bytes): writes it to the uid_map of a process in
 * a new user namespace, and prints on standard output the errno (four bytes; 0: accepted), the length of the map that
 * the kernel then shows (four bytes) and that map. With an argument it becomes that user first.
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
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static char text[1 << 16];
static char shown[1 << 16];
static char stack[1 << 14];

static int wait_for_death(void *nothing)
{
	(void)nothing;
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* it must not keep this program's output open */
	for (;;) pause();
}

static int start(void)
{
	/* The kernel lowers the count of namespaces late, so many in a row can exceed the limit for a moment. */
	for (int i = 0; i < 200; i++) {
		int pid = clone(wait_for_death, stack + sizeof stack, CLONE_VM | CLONE_NEWUSER | SIGCHLD, NULL);

		if (pid > 0 || errno != ENOSPC) return pid;
		usleep(10000);
	}
	return -1;
}

static int32_t try_text(size_t length, uint32_t *size)
{
	char path[64];
	int32_t error = 0;
	int pid = start();
	int fd;
	ssize_t count;

	if (pid < 0) exit(3);
	snprintf(path, sizeof path, "/proc/%d/uid_map", pid);
	fd = open(path, O_RDWR);
	if (fd < 0) exit(4);
	count = write(fd, text, length);
	if (count < 0) error = errno;
	else if ((size_t)count != length) error = EIO;
	lseek(fd, 0, SEEK_SET);
	close(fd);
	fd = open(path, O_RDONLY);
	*size = 0;
	while ((count = read(fd, shown + *size, sizeof shown - *size)) > 0) *size += (uint32_t)count;
	close(fd);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return error;
}

int main(int argc, char **argv)
{
	uint32_t length;

	if (argc > 1) {
		if (setgid((gid_t)atoi(argv[1])) < 0 || setuid((uid_t)atoi(argv[1])) < 0) return 2;
		/*
		 * The change of the user made this process undumpable, and the /proc files of an undumpable process belong to
		 * root.
		 */
		prctl(PR_SET_DUMPABLE, 1);
	}
	while (fread(&length, sizeof length, 1, stdin) == 1) {
		uint32_t size;
		int32_t error;

		if (length > sizeof text || fread(text, 1, length, stdin) != length) return 5;
		error = try_text(length, &size);
		fwrite(&error, sizeof error, 1, stdout);
		fwrite(&size, sizeof size, 1, stdout);
		fwrite(shown, 1, size, stdout);
	}
	return 0;
}
