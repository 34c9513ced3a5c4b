/*
 * slow-close COUNT SECONDS PROGRAM ARGUMENT…: executes the program with COUNT sockets, from descriptor 10 on. Closing the last
 * descriptor of one takes SECONDS (SO_LINGER), because the peer reads nothing; as closing that of a file system with much to write.
 */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <fcntl.h>
#include <signal.h>

#define FIRST 10

static int connected(int listener, const struct sockaddr_in *address, int *peer)
{
	static char bytes[1 << 16];
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (const struct sockaddr *)address, sizeof *address) < 0) return -1;
	*peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	while (write(fd, bytes, sizeof bytes) > 0) {
	}
	return fd;
}

int main(int count, char **words)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t length = sizeof address;
	const int sockets = count < 4 ? 0 : atoi(words[1]);
	const struct linger linger = {.l_onoff = 1, .l_linger = count < 4 ? 0 : atoi(words[2])};
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int peer;

	if (sockets == 0 || bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, sockets) < 0) return 1;
	if (getsockname(listener, (struct sockaddr *)&address, &length) < 0) return 1;
	for (int i = 0; i < sockets; i++) {
		int fd = connected(listener, &address, &peer);

		if (fd < 0 || peer < 0 || fcntl(peer, F_DUPFD, 100) < 0) return 1;
		close(peer);
		fcntl(fd, F_SETFL, 0);
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
		if (dup2(fd, 200 + i) < 0) return 1;
		close(fd);
	}
	if (fork() == 0) { /* holds the peers until the program ends */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (int i = 0; i < sockets; i++) close(200 + i);
		for (;;) pause();
	}
	for (int i = 0; i < sockets; i++) {
		if (dup2(200 + i, FIRST + i) < 0) return 1;
		close(200 + i);
	}
	close_range(FIRST + sockets, ~0U, 0);
	execvp(words[3], words + 3);
	return 1;
}
