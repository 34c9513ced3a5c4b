/*
 * userns-enter: answers what the IDs may do with a file, for explain(). The kernel decides: each question is a system call that
 * changes nothing.
 *
 *   ARGV: ROOT MOUNTNS KEPT KEPT-HIGH NAME PATH
 *
 * The descriptors 3 and 4 are the file and its directory, opened with O_PATH.
 *
 * ROOT     the descriptor of the directory in which PATH starts; "-": the root of this process
 * MOUNTNS  the descriptor of the mount namespace of the file; "-": that of this process
 * KEPT     the capabilities that a process with the IDs has, as two numbers of 32 bits each
 * NAME     a name that does not exist
 */
#include "programs/userns-enter/enter.h"
#include "kernel/time-limits.h"
#include <sys/stat.h>
#include <sys/vfs.h>

#define FILE_FD 3
#define DIRECTORY_FD 4
#define QUESTIONS 6
#define CAP_MKNOD_BIT (1U << 27)
#define ST_RDONLY_FLAG 1
#define MOUNT_ATTR_RDONLY_BIT 1
#define EPERM_NUMBER 1
#define EBADF_NUMBER 9
#define EROFS_NUMBER 30
#define ENOSYS_NUMBER 38
#define EOVERFLOW_NUMBER 75
#define LAST_ID 0xfffffffeL
#define NULL_DEVICE 0x103 /* 1:3 */
#define AT_EACCESS_FLAG 0x200

static char text[2048];
static char *at = text;

static void put(long number)
{
	char *end = text + sizeof text;

	if (number < 0) at = append(at, end, "-");
	at = append(append_number(at, end, number < 0 ? -number : number), end, " ");
}

static void flush(void)
{
	raw_syscall3(SYS_write, 1, (long)text, at - text);
	at = text;
}

int asks(const struct plan *plan)
{
	return plan->count == 1 && *plan->programs[0] == '\0';
}

/* The arguments, or NULL if one is missing. */
static char *const *arguments(const struct plan *plan)
{
	for (int i = 0; i < QUESTIONS; i++) {
		if (plan->argv[i] == (char *)0) fail(plan, "ask", -EINVAL_NUMBER);
	}
	return plan->argv;
}

static long look(long fd, struct statx *answer)
{
	return raw_syscall5(SYS_statx, fd, (long)"", AT_EMPTY_PATH, STATX_BASIC_STATS | USERNS_STATX_MNT_ID, (long)answer);
}

static long may(long fd, long mode)
{
	return raw_syscall5(SYS_faccessat2, fd, (long)"", mode, AT_EACCESS_FLAG | AT_EMPTY_PATH, 0);
}

static void tell_file(const struct statx *file)
{
	put(file->stx_mode);
	put(file->stx_uid);
	put(file->stx_gid);
	put((long)(file->stx_attributes & file->stx_attributes_mask));
	put((long)file->stx_mnt_id);
}

/* Drops the effective and the permitted capabilities that a process with the IDs does not have. */
static void keep_capabilities(const struct plan *plan, long low, long high)
{
	unsigned header[2] = {0x20080522 /* _LINUX_CAPABILITY_VERSION_3 */, 0};
	unsigned sets[6];
	long error = raw_syscall3(SYS_capget, (long)header, (long)sets, 0);

	/* Never CAP_MKNOD, with which mknod(2) would make a file. */
	sets[0] = sets[1] &= (unsigned)low & ~CAP_MKNOD_BIT;
	sets[3] = sets[4] &= (unsigned)high;
	sets[2] = sets[5] = 0;
	if (error == 0) error = raw_syscall3(SYS_capset, (long)header, (long)sets, 0);
	if (error < 0) fail(plan, "capset", error);
}

/*
 * Whether a file can be created in the directory. mknodat(2) of a device makes every check of a creation and then fails with EPERM, because
 * this process has no CAP_MKNOD in the initial user namespace (vfs_mknod() in fs/namei.c). A seccomp filter would answer for every
 * directory: a call with a wrong one shows it.
 */
static long may_create(long directory, const char *name)
{
	if (raw_syscall5(SYS_mknodat, -1, (long)name, S_IFCHR, NULL_DEVICE, 0) != -EBADF_NUMBER) return -ENOSYS_NUMBER;
	return raw_syscall5(SYS_mknodat, directory, (long)name, S_IFCHR, NULL_DEVICE, 0);
}

/* A copy of the mount of the descriptor without its map and another attribute (Linux 6.15). It needs CAP_SYS_ADMIN. */
static long without_map(long fd, uint64_t attribute)
{
	struct userns_mount_attr clear = {.attr_clr = USERNS_MOUNT_ATTR_IDMAP | attribute};

	return raw_syscall5(SYS_open_tree_attr, fd, (long)"", AT_EMPTY_PATH | USERNS_OPEN_TREE_CLONE | USERNS_OPEN_TREE_CLOEXEC,
			    (long)&clear, sizeof clear);
}

/*
 * 1: the file system belongs to a user namespace that maps the last gid, as the initial one does; 0: it does not; −1: not known. A file can
 * be created only by a process whose fsgid the namespace maps (fsuidgid_has_mapping() in fs/namei.c).
 */
static long maps_last_group(const char *name, const struct statx *file, const struct statx *directory)
{
	int same_system = file->stx_dev_major == directory->stx_dev_major && file->stx_dev_minor == directory->stx_dev_minor;
	long fd = -1;
	long previous;
	long error;

	if ((file->stx_mode & S_IFMT) == S_IFDIR) fd = without_map(FILE_FD, MOUNT_ATTR_RDONLY_BIT);
	else if (same_system) fd = without_map(DIRECTORY_FD, MOUNT_ATTR_RDONLY_BIT);
	if (fd < 0) return -1;
	previous = raw_syscall3(SYS_setfsgid, LAST_ID, 0, 0);
	error = may_create(fd, name);
	/* It returns the gid from before, also after a failure. */
	if (raw_syscall3(SYS_setfsgid, previous, 0, 0) != LAST_ID) error = 0;
	raw_syscall3(SYS_close, fd, 0, 0);
	return error == -EOVERFLOW_NUMBER ? 0 : error == -EPERM_NUMBER ? 1 : -1;
}

/* The owner without the map of the mount. −1: not known, because the caller has no CAP_SYS_ADMIN, for example. */
static void tell_disk_owner(void)
{
	struct statx answer;
	long fd = without_map(FILE_FD, 0);

	if (fd >= 0 && look(fd, &answer) < 0) fd = -1;
	put(fd < 0 ? -1 : (long)answer.stx_uid);
	put(fd < 0 ? -1 : (long)answer.stx_gid);
	if (fd >= 0) raw_syscall3(SYS_close, fd, 0, 0);
}

void tell_before(const struct plan *plan)
{
	struct statx file, directory;
	struct statfs fs;
	char *const *argv = arguments(plan);
	long timer[4] = {0, 0, BOUNDED_CHILD_TIMER_MS / 1000, 0};
	long number;
	long error;

	/* A file system that does not answer must not keep this process alive for ever if its parent has ended. */
	raw_syscall3(SYS_setitimer, 0, (long)timer, 0);
	keep_capabilities(plan, ~0L, ~0L);
	error = raw_syscall3(SYS_fstatfs, FILE_FD, (long)&fs, 0);
	if (error == 0) error = look(FILE_FD, &file);
	if (error == 0) error = look(DIRECTORY_FD, &directory);
	if (error < 0) fail(plan, "ask", error);
	tell_file(&file);
	tell_file(&directory);
	/* A read-only subvolume of btrfs sets no flag, but refuses writing with EROFS. */
	put((fs.f_flags & ST_RDONLY_FLAG) != 0 || may(FILE_FD, 2) == -EROFS_NUMBER);
	put((long)(unsigned int)fs.f_type);
	/* Only a mount of this mount namespace can be copied. */
	if (read_number(argv[1], &number)) raw_syscall3(SYS_setns, number, CLONE_NEWNS, 0);
	tell_disk_owner();
	put(maps_last_group(argv[4], &file, &directory));
	flush();
}

/*
 * Looks the path up as the IDs do, to see whether they may search the directories on it. Writes the error, the length of the first
 * part of the path that cannot be looked up, and whether the path led to the file.
 */
static void search(long root, char *path)
{
	struct userns_open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = root < 0 ? 0 : USERNS_RESOLVE_IN_ROOT};
	struct statx file, found;
	long directory = root < 0 ? AT_FDCWD : root;
	long error = 0;
	long length = 0;

	for (;;) {
		while (path[length] == '/') length++;
		while (path[length] != '/' && path[length] != '\0') length++;
		char cut = path[length];

		path[length] = '\0';
		error = raw_syscall5(SYS_openat2, directory, (long)path, (long)&how, sizeof how, 0);
		path[length] = cut;
		if (error < 0 || cut == '\0') break;
		raw_syscall3(SYS_close, error, 0, 0);
	}
	/* The server of a network file system can refuse the first question about a file that was opened with O_PATH. */
	if (error >= 0) error = look(error, &found);
	if (error >= 0) error = look(FILE_FD, &file);
	put(error < 0 ? error : 0);
	put(length);
	put(error >= 0 && found.stx_ino == file.stx_ino && found.stx_mnt_id == file.stx_mnt_id &&
	    found.stx_dev_major == file.stx_dev_major && found.stx_dev_minor == file.stx_dev_minor);
}

__attribute__((noreturn)) void answer(const struct plan *plan)
{
	char *const *argv = arguments(plan);
	long root = -1;
	long kept[2];

	if (!read_number(argv[2], &kept[0]) || !read_number(argv[3], &kept[1])) fail(plan, "ask", -EINVAL_NUMBER);
	if (!same(argv[0], "-") && !read_number(argv[0], &root)) fail(plan, "ask", -EINVAL_NUMBER);
	keep_capabilities(plan, kept[0], kept[1]);
	put(may(FILE_FD, 4));
	put(may(FILE_FD, 2));
	put(may(FILE_FD, 1));
	put(may(DIRECTORY_FD, 3));
	put(may_create(FILE_FD, argv[4]));
	search(root, argv[5]);
	flush();
	/* While this process still has memory, and so is not dumpable: see leave_root() in programs/userns-join.c. */
	raw_syscall3(SYS_close_range, 0, ~0U, 0);
	raw_exit(0);
}
