#include "mount/upper-layer.h"
#include "kernel/raw-syscall.h"
#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

#define MODE_BITS 07777
#define LIST_BYTES 2048

NO_STACK_PROTECTOR static long look(int fd, struct statx *seen)
{
	return raw_syscall5(SYS_statx, fd, (long)"", AT_EMPTY_PATH, STATX_BASIC_STATS, (long)seen);
}

NO_STACK_PROTECTOR static int is_itself_or_parent(const char *name)
{
	return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

/* Returns 1 if the directory has no entry, otherwise 0, or a negative errno. */
NO_STACK_PROTECTOR static long is_empty(int fd)
{
	union {
		struct dirent64 first;
		char bytes[LIST_BYTES];
	} list;

	for (;;) {
		const long length = raw_syscall3(SYS_getdents64, fd, (long)list.bytes, sizeof list.bytes);

		if (length <= 0) return length < 0 ? length : 1;
		for (long at = 0; at < length;) {
			const struct dirent64 *entry = (const void *)(list.bytes + at);

			if (!is_itself_or_parent(entry->d_name)) return 0;
			at += entry->d_reclen;
		}
	}
}

NO_STACK_PROTECTOR static int begins_with(const char *text, const char *start)
{
	while (*start != '\0' && *text == *start) text++, start++;
	return *start == '\0';
}

/* Returns 1 if the directory has an attribute of overlayfs, otherwise 0, or a negative errno. A new one has no long list. */
NO_STACK_PROTECTOR static long is_marked(int fd)
{
	char list[LIST_BYTES];
	const long length = raw_syscall3(SYS_flistxattr, fd, (long)list, sizeof list);

	if (length == -ERANGE) return 1;
	if (length < 0) return length == -EOPNOTSUPP ? 0 : length;
	for (long at = 0; at < length; at++) {
		if (begins_with(list + at, "trusted.overlay.")) return 1;
		while (list[at] != '\0') at++;
	}
	return 0;
}

/* A descriptor with O_PATH permits neither reading nor a change. "." is the same directory on the same mount. */
NO_STACK_PROTECTOR static long reopen(int fd)
{
	return raw_syscall5(SYS_openat, fd, (long)".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0, 0);
}

NO_STACK_PROTECTOR long upper_layer_is_new(int fd)
{
	const long directory = reopen(fd);
	long answer = directory < 0 ? directory : is_empty((int)directory);

	if (answer > 0) {
		answer = is_marked((int)directory);
		if (answer >= 0) answer = !answer;
	}
	if (directory >= 0) raw_syscall3(SYS_close, directory, 0, 0);
	return answer;
}

NO_STACK_PROTECTOR long upper_layer_prepare(int overlay, int lower, const uint32_t unmapped[2])
{
	const long directory = reopen(overlay);
	struct statx wanted;
	struct statx found;
	long error = directory < 0 ? directory : look(lower, &wanted);

	if (error == 0) error = look((int)directory, &found);
	if (error == 0 && wanted.stx_uid != unmapped[0] && wanted.stx_gid != unmapped[1]) {
		if (found.stx_uid != wanted.stx_uid || found.stx_gid != wanted.stx_gid)
			error = raw_syscall3(SYS_fchown, directory, (long)wanted.stx_uid, (long)wanted.stx_gid);
		if (error == 0 && ((found.stx_mode ^ wanted.stx_mode) & MODE_BITS) != 0)
			error = raw_syscall3(SYS_fchmod, directory, (long)(wanted.stx_mode & MODE_BITS), 0);
	}
	if (directory >= 0) raw_syscall3(SYS_close, directory, 0, 0);
	return error;
}
