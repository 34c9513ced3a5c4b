/*
 * AUTO_CLOSE int fd = …; closes the descriptor at the end of its scope unless it is negative, as systemd's _cleanup_close_.
 * It must not be used in a function that runs in a child which shares our memory, because close(3) writes errno.
 */
#ifndef USERNS_AUTO_CLOSE_H
#define USERNS_AUTO_CLOSE_H

#include <unistd.h>

#define AUTO_CLOSE __attribute__((cleanup(auto_close)))

static inline void auto_close(const int *fd)
{
	if (*fd >= 0) close(*fd);
}

/* Passes the descriptor on to the caller: the variable is −1 afterwards, and nothing is closed. */
static inline int take_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

#endif
