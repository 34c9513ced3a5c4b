#include "proc/nsfs.h"
#include "kernel/kernel-abi.h"
#include "proc/procfs-file.h"
#include "proc/procfs.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

/* ENODEV and friends mean other things already; this one never comes from the calls below. */
#define NOT_SUCH_A_NAMESPACE (-EMEDIUMTYPE)

int nsfs_of_process(int pidfd, int process)
{
	/* Linux 6.11, commit 5b08bd408534: exact whatever /proc shows, and needs no name. */
	int fd = ioctl(pidfd, USERNS_PIDFD_GET_USER_NAMESPACE, 0);
	int error;

	if (fd >= 0) return fd;
	/* EACCES and EPERM are the kernel's answer; the others, that it has no such request. */
	if (errno == EACCES || errno == EPERM || errno == EMFILE || errno == ENFILE) return -errno;
	fd = openat(process, "ns/user", O_RDONLY | O_CLOEXEC);
	if (fd < 0) return -errno;
	error = nsfs_check(fd, CLONE_NEWUSER);
	if (error < 0) {
		close(fd);
		return error;
	}
	return fd;
}

/* For what is known to be on nsfs: elsewhere the number of the request may mean something else. */
static int check_kind(int fd, int kind)
{
	int type = ioctl(fd, USERNS_NS_GET_NSTYPE);

	if (type < 0) return -errno;
	return type == kind ? 0 : NOT_SUCH_A_NAMESPACE;
}

int nsfs_check(int fd, int kind)
{
	struct statfs fs;

	if (fstatfs(fd, &fs) < 0) return -errno;
	return fs.f_type == USERNS_NSFS_MAGIC ? check_kind(fd, kind) : NOT_SUCH_A_NAMESPACE;
}

/*
 * Opens what an O_PATH descriptor holds. Looking first and opening then through the same descriptor means that
 * nothing is opened by accident: a device that rewinds, a fifo that waits.
 */
static int reopen(int path_fd)
{
	char name[PROCFS_NAME];
	int fd;

	procfs_fd_name(path_fd, name);
	fd = open(name, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int same_file(int a, int b)
{
	struct stat first;
	struct stat second;

	if (fstat(a, &first) < 0 || fstat(b, &second) < 0) return 0;
	return first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

void nsfs_open_seen(int seen, int kind, struct outcome *out)
{
	struct statfs fs;
	int error = fstatfs(seen, &fs) < 0 ? -errno : 0;
	int fd = -1;

	if (error == 0 && fs.f_type != USERNS_NSFS_MAGIC) error = NOT_SUCH_A_NAMESPACE;
	if (error == 0) error = fd = reopen(seen);
	if (fd >= 0) {
		/* /proc may be anything: what came back must be what was looked at. */
		error = same_file(seen, fd) ? check_kind(fd, kind) : -EXDEV;
		if (error < 0) close(fd);
		else out->fd = fd;
	}
	close(seen);
	if (error < 0) outcome_fail(out, error, "open");
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
		maps[i] = procfs_open_file(process, map_files[i]);
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

static void open_process_namespace(int pidfd, int pid, struct outcome *out)
{
	int process = procfs_open_process(pidfd, pid);
	int fd;
	int again;

	if (process < 0) {
		outcome_fail(out, process, "proc");
		return;
	}
	fd = nsfs_of_process(pidfd, process);
	if (fd < 0) {
		close(process);
		outcome_fail(out, fd, "namespace");
		return;
	}
	if (nsfs_read_maps(process, out) == 0) {
		/* Had the process moved to another namespace meanwhile, the maps would be those of that one. */
		again = nsfs_of_process(pidfd, process);
		if (again < 0) outcome_fail(out, again, "namespace");
		else if (!same_file(fd, again)) outcome_fail(out, -EAGAIN, "namespace");
		if (again >= 0) close(again);
	}
	close(process);
	if (out->error < 0) close(fd);
	else out->fd = fd;
}

void nsfs_open_pid(int pid, struct outcome *out)
{
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);

	if (pidfd < 0) {
		outcome_fail(out, -errno, "pidfd");
		return;
	}
	open_process_namespace(pidfd, pid, out);
	close(pidfd);
}

int nsfs_identify(int fd, struct ns_identity *identity)
{
	struct stat st;

	if (fstat(fd, &st) < 0) return -errno;
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
