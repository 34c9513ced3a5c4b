/*
 * slow-end DEVICE DIRECTORY SECONDS: mounts a fuse file system on a block device, prints a line, and takes that long to
 * answer FUSE_DESTROY, for which the kernel waits, like a disk that has much to write.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

static void answer(int fd, uint64_t unique, int error, const void *body, size_t length)
{
	char bytes[256];
	struct fuse_out_header header = {.len = (uint32_t)(sizeof header + length), .error = -error, .unique = unique};

	memcpy(bytes, &header, sizeof header);
	if (length > 0) memcpy(bytes + sizeof header, body, length);
	if (write(fd, bytes, header.len) < 0) _exit(1);
}

static void serve(int fd, const struct fuse_in_header *header, unsigned seconds)
{
	struct fuse_init_out init = {.major = 7, .minor = 31, .max_write = 65536};
	struct fuse_attr_out attributes = {.attr_valid = 1000, .attr = {.ino = 1, .mode = 040755, .nlink = 2}};

	if (header->opcode == FUSE_INIT) answer(fd, header->unique, 0, &init, sizeof init);
	else if (header->opcode == FUSE_GETATTR) answer(fd, header->unique, 0, &attributes, sizeof attributes);
	else if (header->opcode == FUSE_DESTROY) {
		sleep(seconds);
		answer(fd, header->unique, 0, NULL, 0);
		_exit(0);
	} else if (header->opcode != FUSE_FORGET && header->opcode != FUSE_BATCH_FORGET) answer(fd, header->unique, ENOSYS, NULL, 0);
}

int main(int count, char **words)
{
	static char request[1 << 20];
	char options[128];
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	if (count != 4 || fd < 0) return 1;
	snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0,blksize=4096", fd);
	if (mount(words[1], words[2], "fuseblk", 0, options) < 0) return 1;
	puts("ready");
	fflush(stdout);
	while (read(fd, request, sizeof request) > 0) serve(fd, (void *)request, (unsigned)atoi(words[3]));
	return 0;
}
