/*
 * System calls without the C library. A child that shares our memory also shares errno and every other thread-local variable
 * of the thread that started it, so it must not call the C library.
 */
#ifndef USERNS_RAW_SYSCALL_H
#define USERNS_RAW_SYSCALL_H

#include "kernel/kernel-abi.h"

/*
 * Marks a function that runs in a child which shares our memory. The stack protector only reads the thread's canary, so
 * compilers without the attribute (GCC before 11) do no harm.
 */
#if defined(__has_attribute)
#if __has_attribute(no_stack_protector)
#define NO_STACK_PROTECTOR __attribute__((no_stack_protector))
#endif
#endif
#ifndef NO_STACK_PROTECTOR
#define NO_STACK_PROTECTOR
#endif
/*
 * The child ends by exit_group(2) or execve(2) in the middle of its functions. Memory that AddressSanitizer has poisoned around
 * their variables would stay poisoned, and the parent continues to use that memory.
 */
#ifdef __SANITIZE_ADDRESS__
#undef NO_STACK_PROTECTOR
#define NO_STACK_PROTECTOR __attribute__((no_stack_protector, no_sanitize_address))
#endif

#if defined(__x86_64__)

static inline long raw_syscall5(long number, long a, long b, long c, long d, long e)
{
	long result;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
			 : "rcx", "r11", "memory");
	return result;
}

#elif defined(__aarch64__)

static inline long raw_syscall5(long number, long a, long b, long c, long d, long e)
{
	register long x8 __asm__("x8") = number;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
	return x0;
}

#else
#error "userns has raw system calls for x86-64 and arm64; add those of this architecture to native/kernel/raw-syscall.h"
#endif

static inline long raw_syscall3(long number, long a, long b, long c)
{
	return raw_syscall5(number, a, b, c, 0, 0);
}

__attribute__((noreturn)) static inline void raw_exit(int status)
{
	for (;;) raw_syscall3(SYS_exit_group, status, 0, 0);
}

#endif
