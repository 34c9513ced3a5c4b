#include "userns/read-maps.h"
#include "kernel/kernel-abi.h"
#include "userns/join-process.h"
#include "proc/nsfs.h"
#include "proc/procfs-file.h"
#include "proc/procfs.h"
#include "proc/sysctl.h"
#include <errno.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * The inode of this process's own namespace, once that was asked; 0: not yet. It can change no more than the process's
 * namespace can, which the kernel lets nobody leave who has threads (unshare(2), setns(2): EINVAL); and as long as we are
 * in it, no other has this number.
 */
static _Atomic uint64_t own_inode;

/* Whether it is this process's own; that /proc shows another one as ours is no reason to believe it. */
static int is_own(const struct stat *wanted, int self)
{
	int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	struct stat own;
	int error;
	int fd;

	if (pidfd < 0) return 0;
	fd = nsfs_of_process(pidfd, self, CLONE_NEWUSER);
	close(pidfd);
	if (fd < 0) return 0;
	error = fstat(fd, &own);
	close(fd);
	if (error < 0) return 0;
	atomic_store_explicit(&own_inode, own.st_ino, memory_order_relaxed);
	return own.st_dev == wanted->st_dev && own.st_ino == wanted->st_ino;
}

/* Nobody can join where he is; then /proc has the maps of this very thread. 1 when that answered. */
static int read_own(int ns, struct outcome *out)
{
	uint64_t known = atomic_load_explicit(&own_inode, memory_order_relaxed);
	struct stat wanted;
	int self;
	int own;

	if (fstat(ns, &wanted) < 0) return 0;
	if (known != 0 && known != wanted.st_ino) return 0;
	self = procfs_open_self();
	if (self < 0) return 0;
	own = is_own(&wanted, self);
	if (own) nsfs_read_maps(self, out);
	close(self);
	return own;
}

/*
 * A process of ours that joins is not dumpable, so that nobody inside can trace it, but each change of its IDs makes it
 * what fs.suid_dumpable says (commit_creds() in kernel/cred.c). Read each time: root may write it at any moment.
 */
static int refuse_traceable(struct outcome *out)
{
	int setting = sysctl_suid_dumpable();

	if (setting < 0) return outcome_fail(out, setting, "suid_dumpable");
	return setting == 1 ? outcome_fail(out, -EPERM, "traceable") : 0;
}

/* As nsfs_open_maps(); `process` is the joiner's folder in /proc, opened while it was on its way, or a negative errno. */
static int open_maps(const struct child *child, int process, int maps[NSFS_MAPS], struct outcome *out)
{
	if (process >= 0 && nsfs_open_maps(process, maps, out) == 0) return 0;
	/* With hidepid, /proc hides what is in the folder as soon as the process cannot be traced any more. */
	outcome_fail(out, 0, NULL);
	process = procfs_open_process(child->pidfd, child->pid);
	if (process < 0) return outcome_fail(out, process, "proc");
	nsfs_open_maps(process, maps, out);
	close(process);
	return out->error;
}

void read_maps(const struct read_maps_request *request, struct outcome *out)
{
	int maps[NSFS_MAPS];
	struct join_process join;
	int process;

	if (read_own(request->ns, out) || refuse_traceable(out) < 0) return;
	if (join_process_begin(&join, request->program, request->ns, out) < 0) return;
	process = procfs_open_process(join.child.pidfd, join.child.pid);
	if (join_process_await(&join, out) == 0) open_maps(&join.child, process, maps, out);
	/* It ends, perhaps on another processor, during what follows. */
	join_process_stop(&join);
	if (out->error == 0) nsfs_take_maps(maps, out);
	if (process >= 0) close(process);
	join_process_end(&join);
}
