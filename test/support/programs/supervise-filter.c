/* The filter: it notifies all calls but those that cannot fail and those of the language runtime. */
#define _GNU_SOURCE
#include "supervise.h"
#include <linux/filter.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif
#ifndef SYS_rseq
#define SYS_rseq 334
#endif

/*
 * Memory, locks, clocks and the event loop belong to V8 and libuv, which abort if one of these calls fails. The calls
 * that only return a number cannot fail, and neither can rt_sigprocmask(2) with valid arguments.
 */
static const unsigned passed[] = {
	SYS_futex,       SYS_mmap,          SYS_munmap,      SYS_mprotect,        SYS_madvise,         SYS_brk,
	SYS_mremap,      SYS_rt_sigreturn,  SYS_exit,        SYS_exit_group,      SYS_sched_yield,     SYS_clock_gettime,
	SYS_nanosleep,   SYS_gettimeofday,  SYS_getrusage,   SYS_clock_nanosleep, SYS_epoll_pwait,     SYS_epoll_ctl,
	SYS_getrandom,   SYS_rseq,          SYS_getpid,      SYS_gettid,          SYS_getppid,         SYS_getuid,
	SYS_geteuid,     SYS_getgid,        SYS_getegid,     SYS_rt_sigprocmask,  SYS_set_robust_list, SYS_restart_syscall,
	SYS_sigaltstack, SYS_rt_sigaction,
#ifdef SYS_epoll_wait
	SYS_epoll_wait,
#endif
};

#define COUNT (sizeof passed / sizeof passed[0])

int filter_install(void)
{
	struct sock_filter filter[COUNT + 3];
	struct sock_fprog program = {.len = COUNT + 3, .filter = filter};
	const unsigned long flags = SECCOMP_FILTER_FLAG_NEW_LISTENER;
	long fd;

	filter[0] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (size_t i = 0; i < COUNT; i++) {
		filter[i + 1] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, passed[i], (__u8)(COUNT - i), 0);
	}
	filter[COUNT + 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
	filter[COUNT + 2] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	/* Without the second flag (before Linux 5.19) a signal restarts a call that waits for its answer. */
	fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, &program);
	if (fd < 0) fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
	return (int)fd;
}
