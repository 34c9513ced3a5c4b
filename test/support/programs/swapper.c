/*
 * swapper A B: exchanges two names in a loop until SIGTERM (renameat2(2), RENAME_EXCHANGE). Prints the count every 1000
 * times and at the end, so that a test sees that it runs. A refused exchange does not count: EBUSY, while something is
 * mounted on one of them.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXCHANGE 2

static volatile sig_atomic_t over;

static void end(int number)
{
	(void)number;
	over = 1;
}

static void say(unsigned long swaps)
{
	printf("%lu\n", swaps);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	unsigned long swaps = 0;

	if (argc != 3) return 2;
	signal(SIGTERM, end);
	while (!over) {
		if (syscall(SYS_renameat2, AT_FDCWD, argv[1], AT_FDCWD, argv[2], EXCHANGE) == 0) {
			if (++swaps % 1000 == 0) say(swaps);
		} else if (errno != EBUSY) {
			perror("renameat2");
			return 1;
		}
	}
	say(swaps);
	return 0;
}
