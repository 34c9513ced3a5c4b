/*
 * swapper A B [COUNT]: exchanges two names, COUNT times or until it is killed, as fast as it can (renameat2(2),
 * RENAME_EXCHANGE). Says how often every 1000 times, so that a test can see that it was at work.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXCHANGE 2

int main(int argc, char **argv)
{
	unsigned long most = argc > 3 ? strtoul(argv[3], NULL, 10) : (unsigned long)-1;

	if (argc < 3) return 2;
	for (unsigned long i = 1; i <= most; i++) {
		if (syscall(SYS_renameat2, AT_FDCWD, argv[1], AT_FDCWD, argv[2], EXCHANGE) < 0 && errno != EBUSY) {
			perror("renameat2");
			return 1;
		}
		if (i % 1000 == 0) {
			printf("%lu\n", i);
			fflush(stdout);
		}
	}
	return 0;
}
