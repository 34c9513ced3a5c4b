#include "userns/read-maps.h"
#include "kernel/auto-close.h"
#include "kernel/kernel-abi.h"
#include "kernel/portable.h"
#include "proc/nsfs.h"
#include "proc/procfs-file.h"
#include "proc/procfs.h"
#include "proc/sysctl.h"
#include "userns/join-process.h"
#include <errno.h>
#include <stdatomic.h>
#include <sys/stat.h>

/*
 * The inode of this process's own user namespace, or 0 if it is not known yet. It does not change, because the kernel lets no
 * process with several threads leave its user namespace (unshare(2), setns(2): EINVAL); and while we are in it, no other namespace
 * has this number.
 */
static _Atomic uint64_t own_inode;

/* Returns 1 if the namespace is this process's own. Asks the kernel by a pidfd, because /proc could show another one as ours. */
static int is_own(int ns, int self)
{
	AUTO_CLOSE int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	AUTO_CLOSE int fd = pidfd < 0 ? -1 : nsfs_of_process(pidfd, self, CLONE_NEWUSER);
	struct stat own;

	if (fd < 0 || portable_fstat(fd, &own) < 0) return 0;
	atomic_store_explicit(&own_inode, own.st_ino, memory_order_relaxed);
	return nsfs_is_same(ns, fd);
}

/* A process cannot join its own namespace, so its maps are read from /proc/thread-self. Returns 1 if that was the namespace. */
static int read_own(int ns, struct outcome *out)
{
	uint64_t known = atomic_load_explicit(&own_inode, memory_order_relaxed);
	AUTO_CLOSE int self = -1;
	struct stat st;

	if (portable_fstat(ns, &st) < 0 || (known != 0 && known != st.st_ino)) return 0;
	self = procfs_open_self();
	if (self < 0 || !is_own(ns, self)) return 0;
	nsfs_read_maps(self, out);
	return 1;
}

/*
 * A process that joins is not dumpable, so that no process of the namespace can trace it, but each change of its IDs sets it to the
 * value of fs.suid_dumpable (commit_creds() in kernel/cred.c). The sysctl is read each time, because root may change it.
 */
static int refuse_traceable(struct outcome *out)
{
	int setting = sysctl_suid_dumpable();

	if (setting < 0) return outcome_fail(out, setting, "suid_dumpable");
	return setting == 1 ? outcome_fail(out, -EPERM, "traceable") : 0;
}

/* nsfs_open_maps() of the join process. `process` is its directory in /proc, opened before it joined, or a negative errno. */
static int open_maps(const struct child *child, int process, int maps[NSFS_MAPS], struct outcome *out)
{
	AUTO_CLOSE int again = -1;

	if (process >= 0 && nsfs_open_maps(process, maps, out) == 0) return 0;
	/* With hidepid, /proc hides the contents of the directory as soon as we may not trace the process. */
	outcome_fail(out, 0, NULL);
	again = procfs_open_process(child->pidfd, child->pid);
	return again < 0 ? outcome_fail(out, again, "proc") : nsfs_open_maps(again, maps, out);
}

/*
 * 1. Reads the maps of our own namespace from /proc.
 * 2. Otherwise refuses if a joining process could be traced.
 * 3. Executes userns-join, and opens its directory in /proc while it joins.
 * 4. Opens its maps, and ends it. It ends, perhaps on another CPU, while the maps are read.
 */
void read_maps(int ns, struct outcome *out)
{
	int maps[NSFS_MAPS];
	struct join_process join;
	AUTO_CLOSE int process = -1;

	if (read_own(ns, out) || refuse_traceable(out) < 0) return;
	if (join_process_begin(&join, ns, out) < 0) return;
	process = procfs_open_process(join.child.pidfd, join.child.pid);
	if (join_process_await(&join, out) == 0) open_maps(&join.child, process, maps, out);
	join_process_stop(&join);
	if (out->error == 0) nsfs_take_maps(maps, out);
	join_process_end(&join);
}
