/*
 * many-mounts FOLDER DEPTH COUNT: makes an ordinary user's mount table as large as requested. In a user and mount
 * namespace of its own it mounts a tmpfs on FOLDER with a directory "data", and COUNT mounts below DEPTH directories
 * whose names the kernel writes with four characters for each byte. Prints "ready", and waits until its standard input
 * ends.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static void check(int result, const char *what)
{
	if (result >= 0) return;
	fprintf(stderr, "many-mounts: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void write_file(const char *name, const char *text)
{
	int fd = open(name, O_WRONLY | O_CLOEXEC);

	check(fd, name);
	check((int)write(fd, text, strlen(text)), name);
	close(fd);
}

int main(int argc, char **argv)
{
	unsigned uid = getuid();
	unsigned gid = getgid();
	char text[256];
	char byte;

	if (argc != 4) return 2;
	check(unshare(CLONE_NEWUSER | CLONE_NEWNS), "unshare");
	write_file("/proc/self/setgroups", "deny");
	snprintf(text, sizeof text, "0 %u 1", uid);
	write_file("/proc/self/uid_map", text);
	snprintf(text, sizeof text, "0 %u 1", gid);
	write_file("/proc/self/gid_map", text);
	check(mount("many", argv[1], "tmpfs", 0, NULL), "mount");
	check(chdir(argv[1]), "chdir");
	check(mkdir("data", 0755), "mkdir");
	memset(text, ' ', sizeof text - 1);
	text[sizeof text - 1] = 0;
	for (int i = atoi(argv[2]); i > 0; i--) {
		check(mkdir(text, 0755), "mkdir");
		check(chdir(text), "chdir");
	}
	check(mkdir("source", 0755), "mkdir");
	for (int i = atoi(argv[3]); i > 0; i--) {
		snprintf(text, sizeof text, "m%d", i);
		check(mkdir(text, 0755), "mkdir");
		check(mount("source", text, NULL, MS_BIND, NULL), "mount");
	}
	puts("ready");
	fflush(stdout);
	while (read(0, &byte, 1) > 0) continue;
	return 0;
}
