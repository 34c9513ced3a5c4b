/*
 * Prints the IDs that it runs with, real and effective, and the effective capabilities, as a line of JSON, and exits.
 * The tests set set-user-ID bits and file capabilities on many copies of it: it is static and has no C library, so a copy
 * has a few hundred bytes. Built with -I native, for the system calls.
 */
#include "kernel/raw-syscall.h"
#include <linux/capability.h>

static char text[256];
static unsigned long length;

static void put(const char *word)
{
	while (*word != '\0') text[length++] = *word++;
}

static void put_number(unsigned long value)
{
	char digits[20];
	int count = 0;

	do digits[count++] = (char)('0' + value % 10);
	while ((value /= 10) > 0);
	while (count > 0) text[length++] = digits[--count];
}

static void put_field(const char *name, unsigned long value)
{
	put(name);
	put_number(value);
}

__attribute__((noreturn, used)) void start_in_c(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
	struct __user_cap_data_struct data[2] = {{0, 0, 0}, {0, 0, 0}};
	unsigned uid[3], gid[3];

	raw_syscall3(SYS_getresuid, (long)&uid[0], (long)&uid[1], (long)&uid[2]);
	raw_syscall3(SYS_getresgid, (long)&gid[0], (long)&gid[1], (long)&gid[2]);
	raw_syscall3(SYS_capget, (long)&header, (long)data, 0);
	put_field("{\"errno\":0,\"uid\":", uid[0]);
	put_field(",\"euid\":", uid[1]);
	put_field(",\"gid\":", gid[0]);
	put_field(",\"egid\":", gid[1]);
	put_field(",\"capabilities\":", (unsigned long)data[1].effective << 32 | data[0].effective);
	put("}\n");
	raw_syscall3(SYS_write, 1, (long)text, (long)length);
	raw_exit(0);
}

#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tand $-16, %rsp\n\tcall start_in_c\n\thlt\n");
#else
__asm__(".globl _start\n_start:\n\tmov x29, xzr\n\tmov x30, xzr\n\tb start_in_c\n");
#endif
