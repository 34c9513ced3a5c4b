/*
 * `mounts idmapped SOURCE TARGET PID ROUNDS PAUSE`: an ID-mapped mount with the namespace of the process PID, and its
 * unmount. A pause of PAUSE microseconds before each of the two does not count, because umount2 finds the RCU thread for
 * which it waits awake where nothing else is done;
 * `mounts children SOURCE TARGET PID ROUNDS PAUSE`: the same, with move_mount(2) and umount2(2) each in a child of their own,
 * which shares the memory and has a copy of the descriptor table: the least that a bounded child costs;
 * `mounts many SOURCE FOLDER PID COUNT THREADS`: mounts on the directories 0 … COUNT-1 of a folder by THREADS threads, and
 * then their unmounts;
 * `mounts within SOURCE FOLDER PID COUNT PROGRAM …`: executes a program in a new mount namespace with COUNT mounts on those
 * directories, with the namespace of the process PID or, for 0, without a map;
 * `mounts read FOLDER COUNT ROUNDS`: opens, reads and closes the files 0 … COUNT-1 in a folder.
 */
#include "measure.h"
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SYS_open_tree
#define SYS_open_tree 428
#define SYS_move_mount 429
#endif
#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif
#define TREE_CLONE 1 /* OPEN_TREE_CLONE */
#define FROM_EMPTY_PATH 4 /* MOVE_MOUNT_F_EMPTY_PATH */
#define IDMAP 0x00100000 /* MOUNT_ATTR_IDMAP */
#define PRIVATE (1 << 18) /* MS_PRIVATE */

static const char *source;
static const char *target;
static int number;
static int ns;
static double pause_time;
static int in_children;

/* Keeps the CPU busy, as other work would. */
static void rest(void)
{
	double start = now();

	if (pause_time == 0) return;
	while (now() - start < pause_time) continue;
	not_counted += now() - start;
}

static int detached;

static int attach_here(void *unused)
{
	(void)unused;
	return syscall(SYS_move_mount, detached, "", AT_FDCWD, target, FROM_EMPTY_PATH) < 0;
}

static int unmount_here(void *unused)
{
	(void)unused;
	return umount2(target, MNT_DETACH) < 0;
}

static void step(int (*body)(void *), const char *name)
{
	static char stack[16384] __attribute__((aligned(16)));
	siginfo_t info;
	int pidfd;

	if (!in_children) {
		if (body(NULL) != 0) die(name);
		return;
	}
	if (clone(body, stack + sizeof stack, CLONE_VM | CLONE_PIDFD, NULL, &pidfd) < 0) die("clone");
	if (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | __WALL) < 0 || info.si_status != 0) die(name);
	close(pidfd);
}

static void mount_and_unmount(void)
{
	struct {
		uint64_t set, clear, propagation, userns_fd;
	} attributes = {IDMAP, 0, PRIVATE, (uint64_t)ns};
	int tree;

	rest();
	tree = (int)syscall(SYS_open_tree, AT_FDCWD, source, TREE_CLONE | O_CLOEXEC);
	if (tree < 0) die("open_tree");
	if (syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attributes, sizeof attributes) < 0) die("mount_setattr");
	detached = tree;
	step(attach_here, "move_mount");
	close(tree);
	rest();
	step(unmount_here, "umount2");
}

static int mount_at(const char *directory)
{
	struct {
		uint64_t set, clear, propagation, userns_fd;
	} attributes = {IDMAP, 0, PRIVATE, (uint64_t)ns};
	int tree = (int)syscall(SYS_open_tree, AT_FDCWD, source, TREE_CLONE | O_CLOEXEC);

	if (tree < 0) die("open_tree");
	if (ns < 0) attributes.set = 0;
	if (syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attributes, sizeof attributes) < 0) die("mount_setattr");
	if (syscall(SYS_move_mount, tree, "", AT_FDCWD, directory, FROM_EMPTY_PATH) < 0) die("move_mount");
	return tree;
}

static atomic_int next;
static int unmounting;

static void *work(void *unused)
{
	char directory[4096];

	(void)unused;
	for (int i = atomic_fetch_add(&next, 1); i < number; i = atomic_fetch_add(&next, 1)) {
		snprintf(directory, sizeof directory, "%s/%d", target, i);
		if (!unmounting) close(mount_at(directory));
		else if (umount2(directory, MNT_DETACH) < 0) die("umount2");
	}
	return NULL;
}

static void run_threads(int threads)
{
	pthread_t others[64];

	atomic_store(&next, 0);
	for (int i = 0; i < threads; i++) {
		if (pthread_create(&others[i], NULL, work, NULL) != 0) die("pthread_create");
	}
	for (int i = 0; i < threads; i++) pthread_join(others[i], NULL);
}

/* A private mount namespace, which ends with the program. */
__attribute__((noreturn)) static void within(char **program)
{
	char directory[4096];

	if (unshare(CLONE_NEWNS) < 0) die("unshare");
	for (int i = 0; i < number; i++) {
		snprintf(directory, sizeof directory, "%s/%d", target, i);
		close(mount_at(directory));
	}
	execvp(program[0], program);
	die(program[0]);
}

/* The median of nine bursts of mounts and their unmounts. */
static void many(int threads)
{
	double rates[9];

	for (int i = 0; i < 9; i++) {
		double start = now();

		unmounting = 0;
		run_threads(threads);
		unmounting = 1;
		run_threads(threads);
		rates[i] = number / (now() - start) * 1e6;
	}
	qsort(rates, 9, sizeof *rates, compare);
	printf("{\"perSecond\":%.0f}\n", rates[4]);
}

static void read_all(void)
{
	char path[4096];
	char text[4096];

	for (int i = 0; i < number; i++) {
		int fd;

		snprintf(path, sizeof path, "%s/%d", source, i);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || read(fd, text, sizeof text) < 0) die(path);
		close(fd);
	}
}

int main(int count, char **words)
{
	char path[40];

	if (count < 5) return 2;
	source = words[2];
	if (strcmp(words[1], "read") == 0) {
		number = atoi(words[3]);
		measure(read_all, atoi(words[4]), 1);
		return 0;
	}
	if (count < 7) return 2;
	target = words[3];
	snprintf(path, sizeof path, "/proc/%s/ns/user", words[4]);
	ns = strcmp(words[4], "0") == 0 ? -1 : open(path, O_RDONLY | O_CLOEXEC);
	if (ns < 0 && strcmp(words[4], "0") != 0) die(path);
	if (strcmp(words[1], "within") == 0) {
		number = atoi(words[5]);
		within(words + 6);
	}
	if (count != 7) return 2;
	if (strcmp(words[1], "many") == 0) {
		number = atoi(words[5]);
		many(atoi(words[6]));
		return 0;
	}
	pause_time = atof(words[6]);
	in_children = strcmp(words[1], "children") == 0;
	measure(mount_and_unmount, atoi(words[5]), 1);
	return 0;
}
