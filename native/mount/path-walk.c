#include "kernel/auto-close.h"
#include "mount/mount-syscalls.h"
#include "mount/path-walk-links.h"
#include "proc/procfs.h"
#include <stdio.h>
#include <string.h>

/* Returns the next name, which cut_name() terminates; NULL at the end. */
NO_STACK_PROTECTOR static char *next_name(struct walk *walk)
{
	char *name;

	for (;;) {
		name = walk->texts[walk->text] + walk->at[walk->text];
		while (*name == '/') name++;
		if (*name != '\0') break;
		if (walk->text == 0) return NULL;
		walk->at[walk->text] = (int)(name - walk->texts[walk->text]);
		walk->text--;
	}
	char *end = name;
	while (*end != '/' && *end != '\0') end++;
	walk->at[walk->text] = (int)(end - walk->texts[walk->text]);
	walk->name = name;
	return name;
}

/* Returns 2 if names follow; 1 if only slashes follow, so that the last name must be a directory; 0 at the end. */
NO_STACK_PROTECTOR static int what_follows(const struct walk *walk)
{
	int slashes = 0;

	for (int text = walk->text; text >= 0; text--) {
		const char *rest = walk->texts[text] + walk->at[text];

		while (*rest == '/') {
			slashes = 1;
			rest++;
		}
		if (*rest != '\0') return 2;
	}
	return slashes;
}

/* Terminates the name by overwriting the slash after it. */
NO_STACK_PROTECTOR static void cut_name(struct walk *walk)
{
	char *end = walk->texts[walk->text] + walk->at[walk->text];

	if (*end == '\0') return;
	*end = '\0';
	walk->at[walk->text]++;
}

NO_STACK_PROTECTOR static unsigned type_of(const struct walk *walk)
{
	return walk->stat.stx_mode & S_IFMT;
}

NO_STACK_PROTECTOR static int enter(struct walk *walk, int fd)
{
	if (walk->depth == MOST_DEPTH) return walk_note(walk, -ENAMETOOLONG, "target");
	walk->directories[walk->depth++] = fd;
	return 0;
}

/* Returns to the previous directory, even if the current one was moved meanwhile. */
NO_STACK_PROTECTOR static int go_up(struct walk *walk)
{
	if (walk->depth > 0) {
		raw_syscall3(SYS_close, walk->directories[--walk->depth], 0, 0);
		return 0;
	}
	if (walk->at_top) return 0;
	int fd = walk_look(walk->base, "..", O_DIRECTORY);
	if (fd < 0) return walk_note(walk, fd, "target");
	walk->base = fd;
	return 0;
}

NO_STACK_PROTECTOR static int check_namespace(struct walk *walk, int fd)
{
	int error = (int)raw_syscall3(SYS_fstatfs, fd, (long)&walk->fs, 0);

	if (error == 0 && walk->fs.f_type != USERNS_NSFS_MAGIC) error = -EMEDIUMTYPE;
	return error < 0 ? walk_note(walk, error, "open") : 0;
}

/* Ends the walk. `fd` is the file at the end of the path; `name` is its name in the current directory, or NULL. */
NO_STACK_PROTECTOR static int arrive(struct walk *walk, int fd, char *name)
{
	if (walk->request.end == WALK_NAMESPACE && check_namespace(walk, fd) < 0) return walk->bounded.error;
	if (name != NULL && (walk->request.end == WALK_HOLDER || walk->request.end == WALK_PARENT)) fd = walk_here(walk);
	else name = NULL;
	walk->name = name;
	long error = fd_passing_send(&walk->channel, fd);
	return walk_note(walk, error, "target");
}

/*
 * Looks up one name. Returns 0 if the walk continues, 1 if it has ended, or a negative errno.
 *
 * 1. "." and ".." change at most the current directory.
 * 2. For WALK_PARENT the last name is not looked up.
 * 3. A name before the last is opened as a directory at once, because most names are directories.
 * 4. Otherwise it is opened without following it. A symbolic link is checked and followed.
 * 5. A directory becomes the current one; the last name ends the walk.
 */
NO_STACK_PROTECTOR static int take_name(struct walk *walk, char *name)
{
	int follows = what_follows(walk);
	int fd = -ENOTDIR;

	walk->follows = follows;
	cut_name(walk);
	if (walk_is_name(name, ".")) return 0;
	if (walk_is_name(name, "..")) return go_up(walk);
	if (follows < 2 && walk->request.end == WALK_PARENT) {
		/* open(2) with O_CREAT returns this error. */
		if (follows == 1) return walk_note(walk, -EISDIR, "target");
		return arrive(walk, -1, name) < 0 ? walk->bounded.error : 1;
	}
	if (follows > 0) fd = walk_look(walk_here(walk), name, O_NOFOLLOW | O_DIRECTORY);
	if (fd == -ENOTDIR || fd == -ELOOP) {
		int error;

		fd = walk_look(walk_here(walk), name, O_NOFOLLOW);
		error = fd < 0 ? fd : walk_stat(walk, fd);
		if (error < 0) return walk_note(walk, error, "target");
		if (type_of(walk) == S_IFLNK) return walk_follow(walk, fd);
		/* If it is a directory, it was replaced after the first look-up. */
		if (follows > 0 && type_of(walk) != S_IFDIR) return walk_note(walk, -ENOTDIR, "target");
	}
	if (fd < 0) return walk_note(walk, fd, "target");
	if (follows == 2) return enter(walk, fd);
	return arrive(walk, fd, name) < 0 ? walk->bounded.error : 1;
}

NO_STACK_PROTECTOR static int walk_path(struct walk *walk)
{
	char *name;

	while ((name = next_name(walk)) != NULL) {
		int done = take_name(walk, name);

		if (done != 0) return done;
	}
	return arrive(walk, walk_here(walk), NULL);
}

NO_STACK_PROTECTOR static int create(struct walk *walk)
{
	/* O_EXCL: an existing file stays as it is, and a symbolic link is not followed. */
	const int flags = O_RDONLY | O_CREAT | O_EXCL;
	int directory = walk->request.start;
	long fd = raw_syscall5(SYS_statx, directory, (long)walk->texts[0], AT_SYMLINK_NOFOLLOW, 0, (long)&walk->stat);

	if (fd == 0) return walk_note(walk, -EEXIST, "target");
	walk_note(walk, -EINTR, "own"); /* if the child is killed here, it may have created the file */
	fd = raw_syscall5(SYS_openat, directory, (long)walk->texts[0], flags | O_CLOEXEC, 0444, 0);
	if (fd >= 0) {
		fd = fd_passing_send(&walk->channel, (int)fd);
		if (fd < 0) raw_syscall3(SYS_unlinkat, directory, (long)walk->texts[0], 0);
	}
	return walk_note(walk, fd, "target");
}

/* A file that is not empty stays, because it contains another program's data. */
NO_STACK_PROTECTOR static int remove_empty(struct walk *walk)
{
	const struct statx *stat = &walk->stat;
	int directory = walk->request.start;
	long error = raw_syscall5(SYS_statx, directory, (long)walk->texts[0], AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, (long)stat);

	if (error == 0 && type_of(walk) == S_IFREG && stat->stx_size == 0) {
		error = raw_syscall3(SYS_unlinkat, directory, (long)walk->texts[0], 0);
	}
	return walk_note(walk, error == -ENOENT ? 0 : error, "remove file");
}

NO_STACK_PROTECTOR static int begin(struct walk *walk)
{
	const struct walk_request *request = &walk->request;
	int absolute = walk->texts[0][0] == '/' || (request->mount_ns >= 0 && request->start < 0);
	int fd = request->start;

	if (request->contained && fd >= 0) walk->root = fd;
	if (absolute || request->contained) return walk_to_root(walk);
	if (fd < 0) fd = walk_look(AT_FDCWD, ".", O_DIRECTORY);
	if (fd < 0) return walk_note(walk, fd, "target");
	walk_jump(walk, fd, 0);
	return 0;
}

NO_STACK_PROTECTOR static int walk_body(void *argument)
{
	struct walk *walk = argument;
	const struct walk_request *request = &walk->request;
	const int needed[] = {walk->channel.ends[1], request->start, request->mount_ns, walk->self};
	long error = 0;

	bounded_child_begin(&walk->bounded, needed, sizeof needed / sizeof needed[0]);
	/* Without CLONE_FS the root and the working directory are the child's own; setns(2) sets both to the namespace's root. */
	if (request->mount_ns >= 0) error = raw_syscall3(SYS_setns, request->mount_ns, CLONE_NEWNS, 0);
	if (error < 0) walk_note(walk, error, "setns");
	else if (request->end == WALK_CREATE) create(walk);
	else if (request->end == WALK_REMOVE) remove_empty(walk);
	else if (begin(walk) == 0) walk_path(walk);
	raw_exit(0);
}

static void note_name(const struct walk *walk, struct outcome *out)
{
	char *text = NULL;

	if (walk->name == NULL) return;
	if (out->error == 0) text = strdup(walk->name);
	else if (strcmp(walk->bounded.step, "link owner") == 0 && asprintf(&text, "%u %s", walk->uid, walk->name) < 0) text = NULL;
	out->texts[OUTCOME_NAME] = text;
}

static void run(struct walk *walk, struct outcome *out)
{
	int error = fd_passing_open(&walk->channel);

	if (error < 0) {
		outcome_fail(out, error, "socketpair");
		return;
	}
	error = bounded_child_run(&walk->bounded, walk_body, "target", "target");
	if (error < 0) outcome_fail(out, error, walk->bounded.step);
	else if (walk->request.end != WALK_REMOVE) {
		error = fd_passing_receive(&walk->channel);
		if (error < 0) outcome_fail(out, error, "own"); /* the file was created */
		else out->fd = error;
	}
	/* After these errors the child may have been killed while it wrote the name. */
	if (error != -ETIMEDOUT && error != -ECANCELED) note_name(walk, out);
	fd_passing_close(&walk->channel);
}

void walk_run(const struct walk_request *request, struct outcome *out)
{
	const int fits = strlen(request->path) < PATH_MAX;
	struct walk *walk = fits ? bounded_child_new(sizeof *walk, request->waiter) : NULL;

	if (walk == NULL) {
		outcome_fail(out, fits ? -ENOMEM : -ENAMETOOLONG, fits ? "clone" : "target");
		return;
	}
	walk->request = *request;
	walk->root = -1;
	strcpy(walk->texts[0], request->path);
	walk->self = procfs_open_self();
	run(walk, out);
	auto_close(&walk->self);
	bounded_child_free(&walk->bounded);
}
