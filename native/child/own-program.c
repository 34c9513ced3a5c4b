#include "child/own-program.h"
#include "kernel/auto-close.h"
#include "kernel/kernel-abi.h"
#include <errno.h>
#include <unistd.h>

/* The assembler reads the file in the folder of the compiled programs (scripts/build-native.mjs). */
#define EMBED(symbol, file)                                                                                                     \
	extern const char symbol[] __attribute__((visibility("hidden")));                                                       \
	extern const char symbol##_end[] __attribute__((visibility("hidden")));                                                 \
	__asm__(".pushsection .rodata\n.balign 16\n.globl " #symbol "\n" #symbol ":\n.incbin \"" file "\"\n.globl " #symbol     \
		"_end\n" #symbol "_end:\n.popsection\n")

EMBED(userns_join, "userns-join");
EMBED(userns_enter, "userns-enter");

static int create_file(const char *name)
{
	const unsigned flags = USERNS_MFD_CLOEXEC | USERNS_MFD_ALLOW_SEALING;
	long fd = syscall(SYS_memfd_create, name, flags | USERNS_MFD_EXEC);

	if (fd < 0 && errno == EINVAL) fd = syscall(SYS_memfd_create, name, flags); /* before Linux 6.3 */
	return fd < 0 ? -errno : (int)fd;
}

static int write_sealed(int fd, const char *bytes, size_t length)
{
	while (length > 0) {
		ssize_t written = write(fd, bytes, length);

		if (written < 0 && errno == EINTR) continue;
		if (written <= 0) return written < 0 ? -errno : -EIO;
		bytes += written;
		length -= (size_t)written;
	}
	return fcntl(fd, USERNS_F_ADD_SEALS, USERNS_ALL_SEALS) < 0 ? -errno : 0;
}

int own_program_open(enum own_program program, int least)
{
	const char *start = program == USERNS_JOIN ? userns_join : userns_enter;
	const char *end = program == USERNS_JOIN ? userns_join_end : userns_enter_end;
	AUTO_CLOSE int fd = create_file(program == USERNS_JOIN ? "userns-join" : "userns-enter");
	int error = fd < 0 ? fd : write_sealed(fd, start, (size_t)(end - start));
	int above;

	if (error < 0) return error;
	if (fd >= least) return take_fd(&fd);
	above = fcntl(fd, F_DUPFD_CLOEXEC, least);
	return above < 0 ? -errno : above;
}
