#include "child/fd-passing.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

int passing_open(struct passing *passing)
{
	memset(passing, 0, sizeof *passing);
	passing->part = (struct iovec){.iov_base = &passing->byte, .iov_len = 1};
	passing->message.msg_iov = &passing->part;
	passing->message.msg_iovlen = 1;
	passing->message.msg_control = passing->control.bytes;
	passing->message.msg_controllen = sizeof passing->control.bytes;
	passing->control.head.cmsg_level = SOL_SOCKET;
	passing->control.head.cmsg_type = SCM_RIGHTS;
	passing->control.head.cmsg_len = CMSG_LEN(sizeof(int));
	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, passing->ends) == 0) return 0;
	passing->ends[0] = passing->ends[1] = -1;
	return -errno;
}

NO_STACK_PROTECTOR long passing_send(struct passing *passing, int fd)
{
	long sent;

	*(int *)(void *)CMSG_DATA(&passing->control.head) = fd;
	sent = raw_syscall3(SYS_sendmsg, passing->ends[1], (long)&passing->message, 0);
	return sent < 0 ? sent : 0;
}

int passing_receive(struct passing *passing)
{
	const struct cmsghdr *head = &passing->control.head;
	ssize_t got;
	int fd;

	do got = recvmsg(passing->ends[0], &passing->message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	while (got < 0 && errno == EINTR);
	if (got < 0) return -errno;
	/* No room for it in our table: the kernel says so by leaving it out. */
	if (passing->message.msg_controllen < CMSG_LEN(sizeof(int)) || head->cmsg_type != SCM_RIGHTS) return -EMFILE;
	memcpy(&fd, CMSG_DATA(&passing->control.head), sizeof fd);
	return fd;
}

void passing_close(struct passing *passing)
{
	for (int i = 0; i < 2; i++) {
		if (passing->ends[i] >= 0) close(passing->ends[i]);
		passing->ends[i] = -1;
	}
}
