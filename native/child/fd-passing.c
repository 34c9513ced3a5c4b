#include "child/fd-passing.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

int fd_passing_open(struct fd_passing *channel)
{
	memset(channel, 0, sizeof *channel);
	channel->part = (struct iovec){.iov_base = &channel->byte, .iov_len = 1};
	channel->message.msg_iov = &channel->part;
	channel->message.msg_iovlen = 1;
	channel->message.msg_control = channel->control.bytes;
	channel->message.msg_controllen = sizeof channel->control.bytes;
	channel->control.head.cmsg_level = SOL_SOCKET;
	channel->control.head.cmsg_type = SCM_RIGHTS;
	channel->control.head.cmsg_len = CMSG_LEN(sizeof(int));
	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, channel->ends) == 0) return 0;
	channel->ends[0] = channel->ends[1] = -1;
	return -errno;
}

NO_STACK_PROTECTOR long fd_passing_send(struct fd_passing *channel, int fd)
{
	*(int *)(void *)CMSG_DATA(&channel->control.head) = fd;
	long sent = raw_syscall3(SYS_sendmsg, channel->ends[1], (long)&channel->message, 0);
	return sent < 0 ? sent : 0;
}

int fd_passing_receive(struct fd_passing *channel)
{
	const struct cmsghdr *head = &channel->control.head;
	ssize_t got;
	int fd;

	do got = recvmsg(channel->ends[0], &channel->message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	while (got < 0 && errno == EINTR);
	if (got < 0) return -errno;
	/* If our table is full, the kernel leaves the descriptor out. */
	if (channel->message.msg_controllen < CMSG_LEN(sizeof(int)) || head->cmsg_type != SCM_RIGHTS) return -EMFILE;
	memcpy(&fd, CMSG_DATA(&channel->control.head), sizeof fd);
	return fd;
}

void fd_passing_close(struct fd_passing *channel)
{
	for (int i = 0; i < 2; i++) {
		if (channel->ends[i] >= 0) close(channel->ends[i]);
		channel->ends[i] = -1;
	}
}
