/*
 * The system calls of the mount interface, one function each. Each sets the flags that every caller needs, and returns a
 * descriptor, a length or 0, or a negative errno. They do not use the C library, so that a child that shares our memory may call
 * them too (kernel/raw-syscall.h).
 */
#ifndef USERNS_MOUNT_SYSCALLS_H
#define USERNS_MOUNT_SYSCALLS_H

#include "kernel/raw-syscall.h"
#include <errno.h>
#include <stddef.h>

#define CALL NO_STACK_PROTECTOR static inline __attribute__((unused))

/* Returns a detached copy with USERNS_OPEN_TREE_CLONE, an O_PATH descriptor without. An empty path stands for the directory. */
CALL int call_open_tree(int directory, const char *path, unsigned flags)
{
	flags |= USERNS_OPEN_TREE_CLOEXEC | (path[0] == '\0' ? AT_EMPTY_PATH : 0);
	return (int)raw_syscall3(SYS_open_tree, directory, (long)path, flags);
}

/* Linux 6.15, commit c4a16820d901: the copy never exists with other attributes, and its map can be replaced or cleared. */
CALL int call_open_tree_attr(int directory, const char *path, unsigned flags, const struct userns_mount_attr *attributes)
{
	flags |= USERNS_OPEN_TREE_CLONE | USERNS_OPEN_TREE_CLOEXEC | (path[0] == '\0' ? AT_EMPTY_PATH : 0);
	return (int)raw_syscall5(SYS_open_tree_attr, directory, (long)path, flags, (long)attributes, sizeof *attributes);
}

CALL int call_mount_setattr(int tree, int recursive, const struct userns_mount_attr *attributes)
{
	unsigned flags = AT_EMPTY_PATH | (recursive ? USERNS_AT_RECURSIVE : 0);

	return (int)raw_syscall5(SYS_mount_setattr, tree, (long)"", flags, (long)attributes, sizeof *attributes);
}

/* Moves from descriptor to descriptor, so that a name that is replaced meanwhile has no effect (CVE-2021-30465). */
CALL int call_move_mount(int tree, int target, unsigned flags)
{
	flags |= USERNS_MOVE_MOUNT_F_EMPTY_PATH | USERNS_MOVE_MOUNT_T_EMPTY_PATH;
	return (int)raw_syscall5(SYS_move_mount, tree, (long)"", target, (long)"", flags);
}

#define MOST_WALKS 128

/*
 * The kernel returns EAGAIN for a look-up that must not leave its root if a rename or a mount happens meanwhile, and for one with
 * RESOLVE_CACHED. The call is repeated, with `walks` attempts in all.
 */
CALL int call_openat2(int directory, const char *path, uint64_t flags, uint64_t resolve, int walks)
{
	struct userns_open_how how = {.flags = flags | O_CLOEXEC, .mode = 0, .resolve = resolve};
	long fd = -EAGAIN;

	for (int i = 0; i < walks && fd == -EAGAIN; i++) {
		fd = raw_syscall5(SYS_openat2, directory, (long)path, (long)&how, sizeof how, 0);
	}
	return (int)fd;
}

CALL int call_fsopen(const char *type)
{
	return (int)raw_syscall3(SYS_fsopen, (long)type, USERNS_FSOPEN_CLOEXEC, 0);
}

CALL int call_fsconfig(int context, unsigned command, const char *key, const char *value, int fd)
{
	return (int)raw_syscall5(SYS_fsconfig, context, command, (long)key, (long)value, fd);
}

CALL int call_fsmount(int context, unsigned attributes)
{
	return (int)raw_syscall3(SYS_fsmount, context, USERNS_FSMOUNT_CLOEXEC, attributes);
}

/* Returns a detached mount of a new tmpfs, which is reachable only by its descriptor and is dropped with it. */
CALL int call_new_tmpfs(void)
{
	int context = call_fsopen("tmpfs");
	int fd;

	if (context < 0) return context;
	fd = call_fsconfig(context, USERNS_FSCONFIG_CMD_CREATE, 0, 0, 0);
	if (fd == 0) fd = call_fsmount(context, 0);
	raw_syscall3(SYS_close, context, 0, 0);
	return fd;
}

/* For `ns` 0, the caller's mount namespace, the first version of the request suffices. */
CALL struct userns_mnt_id_req mount_request(uint64_t id, uint64_t param, uint64_t ns)
{
	struct userns_mnt_id_req request = {
		.size = ns == 0 ? USERNS_MNT_ID_REQ_SIZE_VER0 : sizeof request,
		.mnt_id = id,
		.param = param,
		.mnt_ns_id = ns,
	};

	return request;
}

CALL int call_statmount(uint64_t id, uint64_t ns, uint64_t mask, void *buffer, size_t size)
{
	struct userns_mnt_id_req request = mount_request(id, mask, ns);

	return (int)raw_syscall5(SYS_statmount, (long)&request, (long)buffer, (long)size, 0, 0);
}

/* Calls statmount(2) for the mount of a descriptor, even if it was unmounted. EINVAL before Linux 7.0. */
CALL int call_statmount_of(int fd, uint64_t mask, void *buffer, size_t size)
{
	struct userns_mnt_id_req request = {.size = sizeof request, .fd = (uint32_t)fd, .param = mask};

	return (int)raw_syscall5(SYS_statmount, (long)&request, (long)buffer, (long)size, USERNS_STATMOUNT_BY_FD, 0);
}

/* Stores the IDs behind `last`, and returns their number. */
CALL long call_listmount(uint64_t id, uint64_t ns, uint64_t last, uint64_t *ids, size_t count)
{
	struct userns_mnt_id_req request = mount_request(id, last, ns);

	return raw_syscall5(SYS_listmount, (long)&request, (long)ids, (long)count, 0, 0);
}

#endif
