/*
 * hold-directory FUSE DIRECTORY...: holds the lock of each directory that it can read, prints "held", and waits to be
 * ended. FUSE is a device node such as /dev/fuse. In its own user namespace it mounts a fuse file system with one
 * file whose read is never answered, and getdents64(2) writes the names of each directory into a mapping of that file:
 * the kernel waits for the page while it holds the directory's lock (iterate_dir() in fs/readdir.c).
 */
#include <fcntl.h>
#include <linux/fuse.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <signal.h>
#include <unistd.h>

#define ROOT "/mnt"
#define PAGE 4096

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, text, strlen(text)) < 0) die(path);
	close(fd);
}

static void become_root_of_own_namespace(void)
{
	const unsigned uid = getuid();
	const unsigned gid = getgid();
	char map[40];

	if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0) die("unshare");
	write_file("/proc/self/setgroups", "deny");
	snprintf(map, sizeof map, "0 %u 1", uid);
	write_file("/proc/self/uid_map", map);
	snprintf(map, sizeof map, "0 %u 1", gid);
	write_file("/proc/self/gid_map", map);
}

static struct fuse_attr attributes(uint64_t node)
{
	return (struct fuse_attr){
		.ino = node,
		.size = 1024 * PAGE,
		.mode = node == FUSE_ROOT_ID ? S_IFDIR | 0755 : S_IFREG | 0666,
		.nlink = 1,
	};
}

static void answer(int device, uint64_t unique, int error, const void *body, size_t size)
{
	char text[1024];
	const struct fuse_out_header head = {.len = (uint32_t)(sizeof head + size), .error = -error, .unique = unique};

	memcpy(text, &head, sizeof head);
	memcpy(text + sizeof head, body, size);
	if (write(device, text, head.len) < 0) _exit(1);
}

/* Answers the requests before the first page is read, and then only keeps the connection. */
static void serve(int device, int directories)
{
	static char request[1 << 20];
	int reads = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (read(device, request, sizeof request) > 0) {
		const struct fuse_in_header *head = (const void *)request;
		const struct fuse_init_out init = {.major = FUSE_KERNEL_VERSION, .minor = 31, .max_write = PAGE};
		const struct fuse_attr_out attr = {.attr_valid = 1000, .attr = attributes(head->nodeid)};
		const struct fuse_entry_out entry = {.nodeid = 2, .entry_valid = 1000, .attr_valid = 1000, .attr = attributes(2)};
		const struct fuse_open_out opened = {.fh = 1};

		switch (head->opcode) {
		case FUSE_INIT: answer(device, head->unique, 0, &init, sizeof init); break;
		case FUSE_GETATTR: answer(device, head->unique, 0, &attr, sizeof attr); break;
		case FUSE_LOOKUP: answer(device, head->unique, 0, &entry, sizeof entry); break;
		case FUSE_OPEN: answer(device, head->unique, 0, &opened, sizeof opened); break;
		case FUSE_READ:
			if (++reads < directories) break;
			puts("held");
			fflush(stdout);
			break;
		case FUSE_FORGET:
		case FUSE_BATCH_FORGET: break;
		default: answer(device, head->unique, 38 /* ENOSYS */, "", 0);
		}
	}
	_exit(0);
}

int main(int argc, char **argv)
{
	const int directories = argc - 2;
	char options[80];
	char *pages;
	int device;
	int file;

	if (argc < 3) return 2;
	become_root_of_own_namespace();
	device = open(argv[1], O_RDWR);
	if (device < 0) die(argv[1]);
	for (int i = 0; i < directories; i++) {
		if (open(argv[i + 2], O_RDONLY | O_DIRECTORY) != device + 1 + i) die(argv[i + 2]);
	}
	snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0", device);
	if (mount("hold", ROOT, "fuse", 0, options) < 0) die("mount");
	if (fork() == 0) serve(device, directories);
	close(device); /* closing its last descriptor ends the connection, and with it the waits */
	file = open(ROOT "/file", O_RDWR);
	if (file < 0) die("open");
	pages = mmap(NULL, 1024 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (pages == MAP_FAILED) die("mmap");
	for (int i = 0; i < directories; i++) {
		if (fork() != 0) continue;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		syscall(SYS_getdents64, device + 1 + i, pages + (size_t)i * 64 * PAGE, PAGE);
		_exit(0);
	}
	for (;;) pause();
}
