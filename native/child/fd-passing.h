/* A descriptor handed back by a child that shares our memory and has a descriptor table of its own. */
#ifndef USERNS_FD_PASSING_H
#define USERNS_FD_PASSING_H

#include "kernel/raw-syscall.h"
#include <sys/socket.h>

struct fd_passing {
	int ends[2]; /* ours, and the child's; −1 when there is none */
	struct msghdr message;
	struct iovec part;
	char byte;
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
};

/* Prepares everything, so that the child has a number to set and one call to make. 0 or a negative errno. */
int fd_passing_open(struct fd_passing *channel);

/* For the child. 0 or a negative errno. */
long fd_passing_send(struct fd_passing *channel, int fd);

/* What the child has sent, close-on-exec, without a wait; or a negative errno. */
int fd_passing_receive(struct fd_passing *channel);

void fd_passing_close(struct fd_passing *channel);

#endif
