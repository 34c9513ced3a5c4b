#include "proc/nsfs.h"
#include "kernel/auto-close.h"
#include "kernel/kernel-abi.h"
#include "kernel/portable.h"
#include "proc/procfs-file.h"
#include "proc/procfs.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statfs.h>

/* None of the system calls below fails with this error. */
#define WRONG_KIND (-EMEDIUMTYPE)

/* Call this only for a descriptor on nsfs: on other file systems the number of the request may mean something else. */
static int check_kind(int fd, int kind)
{
	int type = ioctl(fd, USERNS_NS_GET_NSTYPE);

	if (type < 0) return -errno;
	return type == kind ? 0 : WRONG_KIND;
}

static int check_nsfs(int fd)
{
	struct statfs fs;

	if (fstatfs(fd, &fs) < 0) return -errno;
	return fs.f_type == USERNS_NSFS_MAGIC ? 0 : WRONG_KIND;
}

int nsfs_check(int fd, int kind)
{
	int error = check_nsfs(fd);

	return error < 0 ? error : check_kind(fd, kind);
}

int nsfs_is_same(int a, int b)
{
	struct stat first;
	struct stat second;

	if (portable_fstat(a, &first) < 0 || portable_fstat(b, &second) < 0) return 0;
	return first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

static const struct {
	int kind;
	unsigned number; /* of the request for a pidfd */
	const char *file; /* below /proc/PID */
} kinds[] = {
	{CLONE_NEWUSER, 9, "ns/user"}, {CLONE_NEWNS, 3, "ns/mnt"},   {CLONE_NEWPID, 5, "ns/pid"},    {CLONE_NEWNET, 4, "ns/net"},
	{CLONE_NEWIPC, 2, "ns/ipc"},   {CLONE_NEWUTS, 10, "ns/uts"}, {CLONE_NEWCGROUP, 1, "ns/cgroup"}, {USERNS_CLONE_NEWTIME, 7, "ns/time"},
};
#define KINDS ((int)(sizeof kinds / sizeof *kinds))

int nsfs_of_process(int pidfd, int process, int kind)
{
	int at = 0;

	while (at < KINDS && kinds[at].kind != kind) at++;
	if (at == KINDS) return -EINVAL;
	AUTO_CLOSE int opened = -1;
	/* Linux 6.11, commit 5b08bd408534: needs no name, and does not depend on what is mounted at /proc. */
	AUTO_CLOSE int fd = ioctl(pidfd, USERNS_PIDFD_GET_ANY_NAMESPACE(kinds[at].number), 0);

	if (fd >= 0) return take_fd(&fd);
	/* Any other error means that the kernel does not have this request. */
	if (errno == EACCES || errno == EPERM || errno == EMFILE || errno == ENFILE) return -errno;
	if (process < 0) process = opened = procfs_open_process(pidfd, 0);
	if (process < 0) return process;
	fd = openat(process, kinds[at].file, O_RDONLY | O_CLOEXEC);
	int error = fd < 0 ? -errno : nsfs_check(fd, kind);
	return error < 0 ? error : take_fd(&fd);
}

/*
 * Opens the file of an O_PATH descriptor. The file was checked before it is opened, so that no other file is opened by accident:
 * opening a tape device rewinds it, opening a FIFO waits.
 */
static int reopen(int path_fd)
{
	char name[PROCFS_NAME];

	procfs_fd_name(path_fd, name);
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

void nsfs_open_seen(int seen, int kind, struct outcome *out)
{
	AUTO_CLOSE int path_fd = seen;
	int error = check_nsfs(path_fd);
	AUTO_CLOSE int fd = error < 0 ? error : reopen(path_fd);

	if (fd < 0) error = fd;
	/* Another file system may be mounted at /proc, so the opened file must be the checked one. */
	else error = nsfs_is_same(path_fd, fd) ? check_kind(fd, kind) : -EXDEV;
	if (error < 0) outcome_fail(out, error, "open");
	else out->fd = take_fd(&fd);
}

void nsfs_open_path(const char *path, int kind, struct outcome *out)
{
	int seen = open(path, O_PATH | O_CLOEXEC);

	if (seen < 0) outcome_fail(out, -errno, "open");
	else nsfs_open_seen(seen, kind, out);
}

static const char *const map_files[NSFS_MAPS] = {"uid_map", "gid_map", "setgroups"};

int nsfs_open_maps(int process, int maps[NSFS_MAPS], struct outcome *out)
{
	for (int i = 0; i < NSFS_MAPS; i++) {
		maps[i] = procfs_open_below(process, map_files[i], O_RDONLY);
		if (maps[i] >= 0) continue;
		outcome_fail(out, maps[i], map_files[i]);
		while (--i >= 0) close(maps[i]);
		return out->error;
	}
	return 0;
}

static int take(const int maps[NSFS_MAPS], char *end, struct outcome *out)
{
	for (int i = 0; i < NSFS_MAPS; i++) {
		long length = procfs_read_open(maps[i], end, PROCFS_TEXT - 1);

		if (length < 0) return outcome_fail(out, (int)length, map_files[i]);
		end += length;
		if (i < NSFS_MAPS - 1) *end++ = ':';
	}
	return 0;
}

int nsfs_take_maps(const int maps[NSFS_MAPS], struct outcome *out)
{
	char *texts = malloc(NSFS_MAPS * PROCFS_TEXT);

	if (texts == NULL) outcome_fail(out, -ENOMEM, map_files[0]);
	else if (take(maps, texts, out) == 0) out->texts[OUTCOME_MAPS] = texts;
	else free(texts);
	for (int i = 0; i < NSFS_MAPS; i++) close(maps[i]);
	return out->error;
}

int nsfs_read_maps(int process, struct outcome *out)
{
	int maps[NSFS_MAPS];

	return nsfs_open_maps(process, maps, out) < 0 ? out->error : nsfs_take_maps(maps, out);
}

/*
 * 1. Opens the directory of the process in /proc.
 * 2. Opens the namespace.
 * 3. Reads the maps.
 * 4. Opens the namespace again and compares: if the process has moved to another namespace, the maps may be those of that one.
 */
void nsfs_open_process(int pidfd, int pid, struct outcome *out)
{
	AUTO_CLOSE int process = procfs_open_process(pidfd, pid);
	AUTO_CLOSE int fd = process < 0 ? process : nsfs_of_process(pidfd, process, CLONE_NEWUSER);
	AUTO_CLOSE int again = -1;

	if (fd < 0) {
		outcome_fail(out, fd, process < 0 ? "proc" : "namespace");
		return;
	}
	if (nsfs_read_maps(process, out) < 0) return;
	again = nsfs_of_process(pidfd, process, CLONE_NEWUSER);
	if (again < 0) outcome_fail(out, again, "namespace");
	else if (!nsfs_is_same(fd, again)) outcome_fail(out, -EAGAIN, "namespace");
	else out->fd = take_fd(&fd);
}

void nsfs_open_pid(int pid, struct outcome *out)
{
	AUTO_CLOSE int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);

	if (pidfd < 0) outcome_fail(out, -errno, "pidfd");
	else nsfs_open_process(pidfd, pid, out);
}

int nsfs_owner_namespace(int fd)
{
	int owner = ioctl(fd, USERNS_NS_GET_USERNS);

	return owner < 0 ? -errno : owner;
}

int nsfs_open_id(uint64_t id, uint32_t inode)
{
	/* nsfs_fh_to_dentry() in fs/nsfs.c accepts the kind and the inode together, or neither. */
	const uint32_t kind = inode == 0 ? 0 : CLONE_NEWUSER;
	struct userns_nsfs_handle handle = {USERNS_NSFS_HANDLE_BYTES, USERNS_FILEID_NSFS, id, kind, inode};
	AUTO_CLOSE int fd = (int)syscall(SYS_open_by_handle_at, USERNS_FD_NSFS_ROOT, &handle, O_RDONLY | O_CLOEXEC);
	struct ns_identity found;

	if (fd < 0) return -errno;
	int error = nsfs_check(fd, CLONE_NEWUSER);
	if (error == 0) error = nsfs_identify(fd, &found);
	if (error == 0 && found.id != id) error = -ESTALE;
	return error < 0 ? error : take_fd(&fd);
}

long nsfs_list(uint64_t last, uint64_t *ids, size_t most)
{
	struct userns_ns_id_req request = {.size = sizeof request, .ns_id = last, .ns_type = CLONE_NEWUSER};
	long count = syscall(SYS_listns, &request, ids, most, 0);

	return count < 0 ? -errno : count;
}

int nsfs_identify(int fd, struct ns_identity *identity)
{
	struct stat st;

	if (portable_fstat(fd, &st) < 0) return -errno;
	identity->device = st.st_dev;
	identity->inode = st.st_ino;
	identity->id = 0;
	if (ioctl(fd, USERNS_NS_GET_ID, &identity->id) < 0) identity->id = 0;
	return 0;
}

int nsfs_owner(int fd, uint32_t *uid)
{
	uid_t owner = 0;

	if (ioctl(fd, USERNS_NS_GET_OWNER_UID, &owner) < 0) return -errno;
	*uid = owner;
	return 0;
}

int nsfs_parent(int fd)
{
	int parent = ioctl(fd, USERNS_NS_GET_PARENT);

	return parent < 0 ? -errno : parent;
}
