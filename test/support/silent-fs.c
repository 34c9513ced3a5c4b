/*
 * silent-fs DIRECTORY: mounts a fuse file system whose server never answers, says so, and waits. Whoever walks into it
 * waits too, as in a container that serves such a file system itself.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <unistd.h>

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
	puts("ready");
	fflush(stdout);
	for (;;) pause();
}
