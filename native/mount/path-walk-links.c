#include "mount/path-walk-links.h"
#include "kernel/statx.h"
#include "mount/mount-syscalls.h"

/* PROC_ROOT_INO of the kernel, include/linux/proc_fs.h. */
#define PROC_ROOT 1
#define NOSYMFOLLOW 0x2000 /* ST_NOSYMFOLLOW in f_flags, Linux 5.10 */

NO_STACK_PROTECTOR int walk_look(int directory, const char *name, int flags)
{
	return (int)raw_syscall5(SYS_openat, directory, (long)name, flags | O_PATH | O_CLOEXEC, 0, 0);
}

NO_STACK_PROTECTOR int walk_stat(struct walk *walk, int fd)
{
	/* Without AT_STATX_DONT_SYNC, because the owner must be current. */
	return (int)raw_syscall5(SYS_statx, fd, (long)"", AT_EMPTY_PATH, STATX_BASIC_STATS, (long)&walk->stat);
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
	return walk->depth > 0 ? walk->directories[walk->depth - 1] : walk->base;
}

NO_STACK_PROTECTOR void walk_jump(struct walk *walk, int fd, int at_top)
{
	while (walk->depth > 0) raw_syscall3(SYS_close, walk->directories[--walk->depth], 0, 0);
	walk->base = fd;
	walk->at_top = at_top;
}

NO_STACK_PROTECTOR int walk_to_root(struct walk *walk)
{
	int fd = walk->root >= 0 ? walk->root : walk_look(AT_FDCWD, "/", O_DIRECTORY);

	if (fd < 0) return walk_note(walk, fd, "target");
	walk_jump(walk, fd, 1);
	return 0;
}

/* On an ID-mapped mount the visible owner differs from the owner on disk, who may be another user. */
NO_STACK_PROTECTOR static int is_idmapped(struct walk *walk, int link)
{
	enum { WORD_MASK = 1, WORD_ATTRIBUTES = 8, MNT_BASIC = 2 };
	uint64_t unique = 0;
	int error = statx_unique_id(link, &unique);

	if (error < 0) return error;
	if (unique == 0) return 0; /* before Linux 6.8 this cannot be detected here */
	error = call_statmount(unique, 0, MNT_BASIC, walk->mount, sizeof walk->mount);
	if (error == -ENOSYS) return 0; /* a seccomp filter that does not know the call */
	if (error < 0) return error;
	return (walk->mount[WORD_MASK] & MNT_BASIC) == 0 || (walk->mount[WORD_ATTRIBUTES] & USERNS_MOUNT_ATTR_IDMAP) != 0;
}

/* Called after fstatfs(2) of the link. */
NO_STACK_PROTECTOR static int check_link(struct walk *walk, int link)
{
	/* A FUSE server may report any owner. */
	if (walk->fs.f_type == USERNS_FUSE_MAGIC) return walk_note(walk, -EACCES, "link fuse");
	if (walk->uid != 0 && walk->uid != walk->request.owner) return walk_note(walk, -EACCES, "link owner");
	return is_idmapped(walk, link) == 0 ? 0 : walk_note(walk, -EACCES, "link idmapped");
}

NO_STACK_PROTECTOR static int follow_text(struct walk *walk, int link)
{
	int number = ++walk->links;
	char *text = walk->texts[number];

	if (check_link(walk, link) < 0) return walk->bounded.error;
	/* Reads the checked link, even if its name leads to another file by now. */
	long length = raw_syscall5(SYS_readlinkat, link, (long)"", (long)text, PATH_MAX, 0);
	if (length == 0) length = -ENOENT;
	if (length >= PATH_MAX) length = -ENAMETOOLONG;
	if (length < 0) return walk_note(walk, length, "link");
	text[length] = '\0';
	walk->at[number] = 0;
	walk->text = number;
	return text[0] == '/' ? walk_to_root(walk) : 0;
}

/*
 * "self" and "thread-self" would lead to the child itself, which has none of the caller's descriptors. The kernel creates both, so
 * they need no check. Other links in the root of a procfs have an ordinary text; those below it are magic links, which only the
 * kernel can follow. No user can replace a name in a procfs.
 */
NO_STACK_PROTECTOR static int follow_in_proc(struct walk *walk, int link)
{
	int directory = walk_here(walk);
	int is_thread = walk_is_name(walk->name, "thread-self");
	int fd = walk_stat(walk, directory);

	if (fd < 0) return walk_note(walk, fd, "target");
	if (walk->stat.stx_ino == PROC_ROOT) {
		if (!is_thread && !walk_is_name(walk->name, "self")) return follow_text(walk, link);
		fd = walk->self < 0 ? -ENOENT : walk_look(walk->self, is_thread ? "." : "../..", O_DIRECTORY);
	} else {
		walk->links++;
		/* The last link must lead to a namespace. Its owner is the user of the process that the path names, so it is not checked. */
		if ((walk->request.end != WALK_NAMESPACE || walk->follows != 0) && check_link(walk, link) < 0) return walk->bounded.error;
		fd = walk_look(directory, walk->name, 0);
	}
	if (fd < 0) return walk_note(walk, fd, "target");
	walk_jump(walk, fd, 0);
	return 0;
}

/* Called after walk_stat() on the link. */
NO_STACK_PROTECTOR int walk_follow(struct walk *walk, int link)
{
	int error = (int)raw_syscall3(SYS_fstatfs, link, (long)&walk->fs, 0);

	if (error < 0) return walk_note(walk, error, "target");
	walk->uid = walk->stat.stx_uid;
	if (walk->request.links == WALK_NO_LINKS || walk->links == MOST_LINKS) return walk_note(walk, -ELOOP, "link");
	if ((walk->fs.f_flags & NOSYMFOLLOW) != 0) return walk_note(walk, -ELOOP, "link");
	if (walk->fs.f_type != USERNS_PROC_SUPER_MAGIC) error = follow_text(walk, link);
	else if (walk->request.contained) error = walk_note(walk, -ELOOP, "link"); /* as RESOLVE_NO_MAGICLINKS */
	else error = follow_in_proc(walk, link);
	raw_syscall3(SYS_close, link, 0, 0);
	return error;
}
