/*
 * silent-fs DIRECTORY [take|late|hold|open]: mounts a fuse file system whose server never answers, prints a line, and waits.
 * A process that enters it waits too, as in a container that serves its own file system. With "take" it answers
 * FUSE_INIT and reads every request: then not even a fatal signal ends the wait. With "late" it answers the look-up of
 * a name after the process that asked was killed: every name is a directory. With "hold" it starts a mkdir(2) in its
 * root, and refuses it as late: the root is locked until then. With "open" it holds a descriptor of its root (O_PATH).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static void ready(void)
{
	puts("ready");
	fflush(stdout);
}

/* Longer than the time limits of bounded-child.c, before it kills a child and after. */
#define LATE_SECONDS 14

static void find(int fd, uint64_t unique)
{
	struct {
		struct fuse_out_header header;
		struct fuse_entry_out entry;
	} answer;

	sleep(LATE_SECONDS);
	memset(&answer, 0, sizeof answer);
	answer.header.len = sizeof answer;
	answer.header.unique = unique;
	answer.entry.nodeid = 2;
	answer.entry.entry_valid = answer.entry.attr_valid = 1000;
	answer.entry.attr.ino = 2;
	answer.entry.attr.mode = 040755;
	answer.entry.attr.nlink = 2;
	if (write(fd, &answer, sizeof answer) > 0) puts("answered");
	fflush(stdout);
}

static void refuse(int fd, uint64_t unique, int error)
{
	struct fuse_out_header answer = {.len = sizeof answer, .error = -error, .unique = unique};

	if (write(fd, &answer, sizeof answer) < 0) _exit(1);
}

/* Starts a mkdir(2), and prints a line when the request has come. */
static void hold(int fd, const struct fuse_in_header *header)
{
	if (header->opcode == FUSE_LOOKUP) refuse(fd, header->unique, ENOENT);
	if (header->opcode == FUSE_GETATTR) refuse(fd, header->unique, EIO);
	if (header->opcode != FUSE_MKDIR) return;
	ready();
	sleep(LATE_SECONDS);
	refuse(fd, header->unique, EIO);
	puts("answered");
	fflush(stdout);
}

static void make_below(const char *root)
{
	char name[4096];

	if (fork() != 0) return;
	snprintf(name, sizeof name, "%s/held", root);
	mkdir(name, 0755);
	_exit(0);
}

static void take(int fd, const char *root, const char *how)
{
	int late = strcmp(how, "late") == 0;
	int holds = strcmp(how, "hold") == 0;

	static char request[1 << 20];
	struct {
		struct fuse_out_header header;
		struct fuse_init_out init;
	} answer;

	while (read(fd, request, sizeof request) > 0) {
		const struct fuse_in_header *header = (const void *)request;

		if (holds) hold(fd, header);
		if (late && header->opcode == FUSE_LOOKUP) find(fd, header->unique);
		if (header->opcode != FUSE_INIT) continue;
		memset(&answer, 0, sizeof answer);
		answer.header.len = sizeof answer;
		answer.header.unique = header->unique;
		answer.init.major = FUSE_KERNEL_VERSION;
		answer.init.minor = 31;
		answer.init.max_write = 4096;
		if (write(fd, &answer, sizeof answer) < 0) return;
		if (holds) make_below(root);
		else ready();
	}
}

int main(int argc, char **argv)
{
	char options[80];
	int fd = open("/dev/fuse", O_RDWR);

	if (argc < 2 || fd < 0) return 2;
	snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", fd);
	if (mount("silent", argv[1], "fuse", 0, options) < 0) {
		perror("mount");
		return 1;
	}
	if (argc > 2 && strcmp(argv[2], "open") == 0) {
		if (open(argv[1], O_PATH) < 0) return 3;
		ready();
	} else if (argc > 2) take(fd, argv[1], argv[2]);
	else ready();
	for (;;) pause();
}
