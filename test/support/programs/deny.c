/*
 * deny NUMBER[:COMMAND][=ERRNO][,…] PROGRAM [ARGUMENT…]: runs a program for which those system calls return ENOSYS (or
 * ENOTTY for an ioctl with that command only, or another errno), as on an older kernel or under a seccomp filter. The errno 4096
 * ends the process instead, and with 4097 the call waits for a supervisor that does not answer.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MOST 16
#define KILL 4096
#define WAIT 4097

static int waits;

static unsigned action(unsigned answer)
{
	if (answer == WAIT) waits = 1;
	if (answer == WAIT) return SECCOMP_RET_USER_NOTIF;
	return answer == KILL ? SECCOMP_RET_KILL_PROCESS : SECCOMP_RET_ERRNO | answer;
}

int main(int argc, char **argv)
{
	struct sock_filter filter[MOST * 5 + 2];
	unsigned short length = 0;
	struct sock_fprog program = {.filter = filter};
	char *at;

	if (argc < 3) return 2;
	at = argv[1];
	for (int i = 0; i < MOST && *at != '\0'; i++) {
		unsigned number = (unsigned)strtoul(at, &at, 0);

		filter[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
		if (*at == ':') {
			unsigned command = (unsigned)strtoul(at + 1, &at, 0);
			unsigned answer = *at == '=' ? (unsigned)strtoul(at + 1, &at, 0) : ENOTTY;

			filter[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 3);
			filter[length++] =
				(struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1]));
			filter[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, command, 0, 1);
			filter[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action(answer));
		} else {
			unsigned answer = *at == '=' ? (unsigned)strtoul(at + 1, &at, 0) : ENOSYS;

			filter[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1);
			filter[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action(answer));
		}
		if (*at == ',') at++;
	}
	filter[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	program.len = length;
#ifndef KEEP_PRIVILEGES /* root needs no no_new_privs to set a filter */
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return 3;
#endif
	long listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, waits ? SECCOMP_FILTER_FLAG_NEW_LISTENER : 0, &program);

	if (listener < 0) return 4;
	/* The program keeps it, because the calls would fail with ENOSYS without it. */
	if (waits && fcntl((int)listener, F_SETFD, 0) < 0) return 6;
	execvp(argv[2], argv + 2);
	return 5;
}
