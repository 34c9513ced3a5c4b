#include "mount/path-walk-links.h"
#include "mount/mount-syscalls.h"
#include <unistd.h>

/* PROC_ROOT_INO of the kernel, include/linux/proc_fs.h. */
#define PROC_ROOT 1
#define NOSYMFOLLOW 0x2000 /* ST_NOSYMFOLLOW in f_flags, Linux 5.10 */

NO_STACK_PROTECTOR int walk_fail(struct walk *walk, long error, const char *step)
{
	walk->error = (int)error;
	walk->step = step;
	return (int)error;
}

NO_STACK_PROTECTOR int walk_look(int directory, const char *name, int flags)
{
	return (int)raw_syscall5(SYS_openat, directory, (long)name, flags | O_PATH | O_CLOEXEC, 0, 0);
}

NO_STACK_PROTECTOR int walk_get_facts(struct walk *walk, int fd)
{
	/* Without AT_STATX_DONT_SYNC, because the owner must be current. */
	return (int)raw_syscall5(SYS_statx, fd, (long)"", AT_EMPTY_PATH, STATX_BASIC_STATS, (long)&walk->ids);
}

NO_STACK_PROTECTOR int walk_is_name(const char *name, const char *other)
{
	while (*name == *other && *name != '\0') {
		name++;
		other++;
	}
	return *name == *other;
}

NO_STACK_PROTECTOR int walk_here(const struct walk *walk)
{
	return walk->depth > 0 ? walk->held[walk->depth - 1] : walk->base;
}

NO_STACK_PROTECTOR void walk_jump(struct walk *walk, int fd, int at_top)
{
	while (walk->depth > 0) raw_syscall3(SYS_close, walk->held[--walk->depth], 0, 0);
	walk->base = fd;
	walk->at_top = at_top;
}

NO_STACK_PROTECTOR int walk_to_root(struct walk *walk)
{
	int fd = walk->root >= 0 ? walk->root : walk_look(AT_FDCWD, "/", O_DIRECTORY);

	if (fd < 0) return walk_fail(walk, fd, "target");
	walk_jump(walk, fd, 1);
	return 0;
}

/* On an ID-mapped mount the map changes the owner, and another user may own the file on disk. */
NO_STACK_PROTECTOR static int is_idmapped(struct walk *walk, int link)
{
	enum { WORD_MASK = 1, WORD_ATTRIBUTES = 8, MNT_BASIC = 2 };
	struct statx *ids = &walk->ids;
	int error = (int)raw_syscall5(SYS_statx, link, (long)"", AT_EMPTY_PATH, USERNS_STATX_MNT_ID_UNIQUE, (long)ids);

	if (error < 0) return error;
	if ((ids->stx_mask & USERNS_STATX_MNT_ID_UNIQUE) == 0) return 0; /* before Linux 6.8 this cannot be detected here */
	error = call_statmount(ids->stx_mnt_id, 0, MNT_BASIC, walk->mount, sizeof walk->mount);
	if (error == -ENOSYS) return 0; /* a seccomp filter that does not know the call */
	if (error < 0) return error;
	return (walk->mount[WORD_MASK] & MNT_BASIC) == 0 || (walk->mount[WORD_ATTRIBUTES] & USERNS_MOUNT_ATTR_IDMAP) != 0;
}

/* After fstatfs(2) of the link. */
NO_STACK_PROTECTOR static int check_link(struct walk *walk, int link)
{
	/* A FUSE server states any owner that it likes. */
	if (walk->fs.f_type == USERNS_FUSE_MAGIC) return walk_fail(walk, -EACCES, "link fuse");
	if (walk->uid != 0 && walk->uid != walk->request.owner) return walk_fail(walk, -EACCES, "link owner");
	return is_idmapped(walk, link) == 0 ? 0 : walk_fail(walk, -EACCES, "link idmapped");
}

NO_STACK_PROTECTOR static int follow_text(struct walk *walk, int link)
{
	int number = ++walk->links;
	char *text = walk->texts[number];
	long length;

	if (check_link(walk, link) < 0) return walk->error;
	/* Reads the link that was checked, even if its name leads to another file by now. */
	length = raw_syscall5(SYS_readlinkat, link, (long)"", (long)text, PATH_MAX, 0);
	if (length == 0) length = -ENOENT;
	if (length >= PATH_MAX) length = -ENAMETOOLONG;
	if (length < 0) return walk_fail(walk, length, "link");
	text[length] = '\0';
	walk->at[number] = 0;
	walk->text = number;
	return text[0] == '/' ? walk_to_root(walk) : 0;
}

/*
 * "self" and "thread-self" would lead to the child itself, which has no descriptors of the caller's. The kernel makes both,
 * so they need no check. Other links in the root of a procfs have an ordinary text; those below it are magic links, which
 * only the kernel can follow. No user can replace a name in a procfs.
 */
NO_STACK_PROTECTOR static int follow_in_proc(struct walk *walk, int link)
{
	int directory = walk_here(walk);
	int is_thread = walk_is_name(walk->name, "thread-self");
	int fd = walk_get_facts(walk, directory);

	if (fd < 0) return walk_fail(walk, fd, "target");
	if (walk->ids.stx_ino == PROC_ROOT) {
		if (!is_thread && !walk_is_name(walk->name, "self")) return follow_text(walk, link);
		fd = walk->self < 0 ? -ENOENT : walk_look(walk->self, is_thread ? "." : "../..", O_DIRECTORY);
	} else {
		walk->links++;
		/* The last one leads to a namespace, or is refused: its owner is the user of the process, which the path names. */
		if ((walk->request.end != WALK_NAMESPACE || walk->follows != 0) && check_link(walk, link) < 0) return walk->error;
		fd = walk_look(directory, walk->name, 0);
	}
	if (fd < 0) return walk_fail(walk, fd, "target");
	walk_jump(walk, fd, 0);
	return 0;
}

/* Called after walk_get_facts() on the link. */
NO_STACK_PROTECTOR int walk_follow(struct walk *walk, int link)
{
	int error = (int)raw_syscall3(SYS_fstatfs, link, (long)&walk->fs, 0);

	if (error < 0) return walk_fail(walk, error, "target");
	walk->uid = walk->ids.stx_uid;
	if (walk->request.links == WALK_NO_LINKS || walk->links == MOST_LINKS) return walk_fail(walk, -ELOOP, "link");
	if ((walk->fs.f_flags & NOSYMFOLLOW) != 0) return walk_fail(walk, -ELOOP, "link");
	if (walk->fs.f_type != USERNS_PROC_SUPER_MAGIC) error = follow_text(walk, link);
	else if (walk->request.contained) error = walk_fail(walk, -ELOOP, "link"); /* as RESOLVE_NO_MAGICLINKS */
	else error = follow_in_proc(walk, link);
	raw_syscall3(SYS_close, link, 0, 0);
	return error;
}
