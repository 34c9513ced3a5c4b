#include "join.h"
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

/* Nobody can join where he is; then /proc has the maps of this very thread. 1 when that answered. */
static int read_own(int ns, struct outcome *out)
{
	struct stat wanted;
	struct stat own;
	int process;

	if (fstat(ns, &wanted) < 0 || stat("/proc/thread-self/ns/user", &own) < 0) return 0;
	if (own.st_dev != wanted.st_dev || own.st_ino != wanted.st_ino) return 0;
	process = open("/proc/thread-self", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (process < 0) return 0;
	nsfs_read_maps(process, out);
	close(process);
	return 1;
}

void join_read_maps(const struct join_request *request, struct outcome *out)
{
	struct joiner joiner;

	if (read_own(request->ns, out)) return;
	if (joiner_start(&joiner, request->helper, request->ns, out) < 0) return;
	read_from_outside(&joiner.child, out);
	joiner_end(&joiner);
}
