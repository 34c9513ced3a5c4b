/*
 * A library for LD_PRELOAD. User-Mode Linux before 7.2 saves only the first part of the floating-point registers of its processes.
 * Processors with more of them, such as those with AMX, refuse to set a part ("ptrace set fp regs failed"). ptrace() here sets all:
 * the part that the kernel knows, and the rest unchanged.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

long ptrace(enum __ptrace_request request, ...)
{
	static __thread char all[65536] __attribute__((aligned(64)));
	struct iovec whole = {.iov_base = all, .iov_len = sizeof all};
	va_list arguments;

	va_start(arguments, request);
	pid_t pid = va_arg(arguments, pid_t);
	void *address = va_arg(arguments, void *);
	void *data = va_arg(arguments, void *);
	va_end(arguments);
	if (request == PTRACE_SETREGSET && (long)address == NT_X86_XSTATE) {
		const struct iovec *part = data;

		if (syscall(SYS_ptrace, PTRACE_GETREGSET, (long)pid, address, &whole) == 0 && part->iov_len < whole.iov_len) {
			memcpy(all, part->iov_base, part->iov_len);
			data = &whole;
		}
	}
	if (request != PTRACE_PEEKTEXT && request != PTRACE_PEEKDATA && request != PTRACE_PEEKUSER) {
		return syscall(SYS_ptrace, (long)request, (long)pid, address, data);
	}
	/* The system call stores what it reads, and the C library's function returns it. */
	long word = 0;
	long error = syscall(SYS_ptrace, (long)request, (long)pid, address, &word);

	return error < 0 ? error : word;
}
