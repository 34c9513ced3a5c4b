#include "join.h"
#include "compat.h"
#include "joiner.h"
#include "nsfs.h"
#include "procfs.h"
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

static void read_from_outside(const struct child *child, struct outcome *out)
{
	int process = procfs_open_process(child->pidfd, child->pid);

	if (process < 0) {
		outcome_fail(out, process, "proc");
		return;
	}
	nsfs_read_maps(process, out);
	close(process);
}

/* Whether it is this process's own; that /proc shows another one as ours is no reason to believe it. */
static int is_own(int ns, int self)
{
	int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	struct stat wanted;
	struct stat own;
	int fd;
	int same;

	if (pidfd < 0) return 0;
	fd = nsfs_of_process(pidfd, self);
	close(pidfd);
	if (fd < 0) return 0;
	same = fstat(ns, &wanted) == 0 && fstat(fd, &own) == 0 && own.st_dev == wanted.st_dev && own.st_ino == wanted.st_ino;
	close(fd);
	return same;
}

/* Nobody can join where he is; then /proc has the maps of this very thread. 1 when that answered. */
static int read_own(int ns, struct outcome *out)
{
	int self = procfs_open_self();
	int own;

	if (self < 0) return 0;
	own = is_own(ns, self);
	if (own) nsfs_read_maps(self, out);
	close(self);
	return own;
}

void join_read_maps(const struct join_request *request, struct outcome *out)
{
	struct joiner joiner;

	if (read_own(request->ns, out)) return;
	if (joiner_start(&joiner, request->helper, request->ns, out) < 0) return;
	read_from_outside(&joiner.child, out);
	joiner_end(&joiner);
}
