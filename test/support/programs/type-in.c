/* Types its first argument into the terminal of its session, and into those on its standard streams. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static int type_into(int fd, const char *text)
{
	for (; *text != '\0'; text++) {
		if (ioctl(fd, TIOCSTI, text) < 0) return errno;
	}
	return 0;
}

int main(int argc, char **argv)
{
	int own = open("/dev/tty", O_RDWR | O_CLOEXEC);

	if (argc != 2) return 2;
	printf("/dev/tty: %s", own < 0 ? strerror(errno) : strerror(type_into(own, argv[1])));
	for (int fd = 0; fd < 3; fd++) {
		if (isatty(fd)) printf("; %d: %s", fd, strerror(type_into(fd, argv[1])));
	}
	printf("\n");
	return 0;
}
