#include "userns/trace-guard.h"
#include "kernel/kernel-abi.h"
#include "userns/process-state.h"
#include "proc/sysctl.h"
#include <errno.h>
#include <linux/capability.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <unistd.h>

#define DUMPABLE 1

struct capabilities {
	uint64_t effective;
	uint64_t permitted;
};

static uint64_t both(uint32_t low, uint32_t high)
{
	return low | (uint64_t)high << 32;
}

static struct capabilities own_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];

	/* A seccomp filter: the capabilities are unknown, so every one may be permitted. */
	if (syscall(SYS_capget, &header, data) < 0) return (struct capabilities){.permitted = ~(uint64_t)0};
	return (struct capabilities){
		.effective = both(data[0].effective, data[1].effective),
		.permitted = both(data[0].permitted, data[1].permitted),
	};
}

static int has(uint64_t set, int capability)
{
	return (set >> capability & 1) != 0;
}

/* Returns 1 if Yama restricts ptrace(2) between processes of one uid, or if the sysctl cannot be read. */
static int yama_restricts(void)
{
	int scope = sysctl_digit("/proc/sys/kernel/yama/ptrace_scope");

	return scope != 0 && scope != -ENOENT;
}

enum trace_guard trace_guard_kind(void)
{
	struct capabilities own = own_capabilities();

	/* The files in /proc of a process that is not dumpable belong to root, and opening ns/user needs the permission to trace. */
	if (geteuid() == 0 && has(own.effective, CAP_SYS_PTRACE) && has(own.effective, CAP_DAC_OVERRIDE)) {
		return TRACE_GUARD_NOT_DUMPABLE;
	}
	if (own.permitted == 0 && prctl(PR_GET_DUMPABLE) == DUMPABLE && !yama_restricts()) return TRACE_GUARD_NONE;
	return TRACE_GUARD_OWN_MEMORY;
}

static int make_undumpable(const struct process_state *state)
{
	int dumpable = prctl(PR_GET_DUMPABLE);

	if (dumpable == DUMPABLE) return prctl(PR_SET_DUMPABLE, 0) < 0 ? -errno : 0;
	/* Otherwise other code, or a copy of this package without the shared state, has done it, and may reverse it. */
	return state->guards > 0 || state->owed ? 0 : -EBUSY;
}

int trace_guard_begin(void)
{
	struct process_state *state = process_state();

	if (state == NULL) return -EBUSY;
	pthread_mutex_lock(&state->lock.mutex);
	int error = make_undumpable(state);
	if (error == 0) state->guards++;
	pthread_mutex_unlock(&state->lock.mutex);
	return error;
}

void trace_guard_end(void)
{
	struct process_state *state = process_state();

	pthread_mutex_lock(&state->lock.mutex);
	if (--state->guards == 0) state->owed = prctl(PR_SET_DUMPABLE, DUMPABLE) < 0;
	pthread_mutex_unlock(&state->lock.mutex);
}
