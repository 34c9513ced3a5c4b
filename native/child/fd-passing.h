/* Receives a descriptor from a child that shares our memory but not our descriptor table. */
#ifndef USERNS_FD_PASSING_H
#define USERNS_FD_PASSING_H

#include "kernel/raw-syscall.h"
#include <sys/socket.h>

struct fd_passing {
	int ends[2]; /* ours, and the child's; −1: closed */
	struct msghdr message;
	struct iovec part;
	char byte;
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
};

/* Prepares the message, so that the child only sets the number and makes one call. Returns 0 or a negative errno. */
int fd_passing_open(struct fd_passing *channel);

/* For the child: sends a descriptor. Returns 0 or a negative errno. */
long fd_passing_send(struct fd_passing *channel, int fd);

/* Receives the descriptor, close-on-exec, and does not wait. Returns the descriptor or a negative errno. */
int fd_passing_receive(struct fd_passing *channel);

void fd_passing_close(struct fd_passing *channel);

#endif
