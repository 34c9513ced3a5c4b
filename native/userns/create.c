#include "userns/create.h"
#include "child/child.h"
#include "child/cpu-binding.h"
#include "kernel/auto-close.h"
#include "kernel/raw-syscall.h"
#include "kernel/signal-mask.h"
#include "proc/nsfs.h"
#include "proc/procfs-file.h"
#include "proc/procfs.h"
#include "userns/batch-gate.h"
#include "userns/join-process.h"
#include "userns/newidmap.h"
#include "userns/trace-guard.h"
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* The creation process, which holds the namespace and waits. It makes only raw system calls, because it shares our memory. */
NO_STACK_PROTECTOR __attribute__((noreturn)) static int wait_to_be_killed(void *argument)
{
	child_die_with_parent(argument);
	for (;;) raw_syscall5(SYS_ppoll, 0, 0, 0, 0, 0);
}

static int write_text(int process, const char *file, const char *text, struct outcome *out)
{
	int error = text[0] == '\0' ? 0 : procfs_write(process, file, text, strlen(text));

	return error < 0 ? outcome_fail(out, error, file) : 0;
}

/*
 * Writes a map, or stores the program that must write it in `program`. The kernel decides whether the caller may write the map,
 * because only the kernel knows all of its rules; a write that failed has changed nothing (map_write()).
 */
static int write_map(const struct create_request *request, int process, int kind, const char **program,
		     struct outcome *out)
{
	const char *text = kind == 0 ? request->uid_map : request->gid_map;
	const char *file = kind == 0 ? "uid_map" : "gid_map";
	int error = text[0] == '\0' ? 0 : -EPERM;

	*program = NULL;
	if (error < 0 && request->direct) error = procfs_write(process, file, text, strlen(text));
	if (error == -EPERM && request->programs[kind] != NULL) {
		*program = request->programs[kind];
		return 0;
	}
	return error < 0 ? outcome_fail(out, error, file) : 0;
}

/*
 * 1. Writes uid_map, or notes its program.
 * 2. Writes setgroups, before gid_map: the kernel refuses it afterwards, and without "deny" an unprivileged writer may not write
 *    gid_map (user_namespaces(7), CVE-2014-8989). "allow" is written too, although it is the initial value: in a namespace below
 *    a parent that denies, the kernel then returns EPERM instead of denying silently.
 * 3. Writes gid_map, or notes its program.
 * 4. Runs the programs, and reads back what they wrote.
 */
static int write_all(const struct create_request *request, const struct child *child, int process, struct outcome *out)
{
	const char *programs[2];

	if (write_map(request, process, 0, &programs[0], out) < 0) return out->error;
	if (write_text(process, "setgroups", request->setgroups, out) < 0) return out->error;
	if (write_map(request, process, 1, &programs[1], out) < 0) return out->error;
	if (programs[0] == NULL && programs[1] == NULL) return 0;
	if (newidmap_write_maps(child->pidfd, programs, request->arguments, out) < 0) return out->error;
	return nsfs_read_maps(process, out);
}

/* Writes the maps of the creation process and opens its namespace. */
static void fill(const struct create_request *request, const struct child *child, struct outcome *out)
{
	AUTO_CLOSE int process = procfs_open_process(child->pidfd, child->pid);
	int fd;

	if (process < 0) outcome_fail(out, process, "proc");
	else if (write_all(request, child, process, out) == 0) {
		fd = nsfs_of_process(child->pidfd, process, CLONE_NEWUSER);
		if (fd < 0) outcome_fail(out, fd, "namespace");
		else out->fd = fd;
	}
}

/* The number of threads in create_sharing_memory(). */
static atomic_int busy;

/*
 * A single creation stays bound until its child is killed, which then usually ends before it ever ran. Creations on several
 * threads would compete for one CPU while another is idle, and a program may take long.
 */
static int may_stay_bound(const struct create_request *request, int count, int others)
{
	return count == 1 && others == 0 && !create_calls_programs(request);
}

/*
 * Creates with children that share our memory, and our descriptors: a copy of a large process takes milliseconds, a copy of a large
 * descriptor table takes long too and would keep each of our descriptors open until the child ends. The caller has blocked every
 * signal; `unblocked` is the mask for the time in which programs run, which may take long. Programs run besides a child that
 * shares our memory only if we have no other uid to become (TRACE_GUARD_NONE).
 *
 * 1. Starts every child, bound to this CPU.
 * 2. Writes the maps of each, opens its namespace and kills it.
 * 3. Reaps them.
 */
static void create_sharing_memory(struct child *children, const struct create_request *const *requests,
				  struct outcome *const *outs, int count, const kernel_sigset *unblocked)
{
	const uint64_t flags = CLONE_VM | CLONE_FILES | CLONE_NEWUSER;
	int others = atomic_fetch_add(&busy, 1);
	struct cpu_binding cpu;

	cpu_bind(&cpu);
	for (int i = 0; i < count; i++) {
		int error = child_start_here(&children[i], flags, wait_to_be_killed, &children[i], &cpu);

		if (error < 0) outcome_fail(outs[i], error, "clone");
	}
	if (!may_stay_bound(requests[0], count, others)) cpu_unbind(&cpu);
	if (create_calls_programs(requests[0])) signals_set(unblocked, NULL);
	for (int i = 0; i < count; i++) {
		if (children[i].pidfd < 0) continue;
		fill(requests[i], &children[i], outs[i]);
		child_kill(&children[i]);
	}
	cpu_unbind(&cpu);
	for (int i = 0; i < count; i++) {
		if (children[i].pidfd >= 0) child_reap(&children[i]); /* ECHILD: see child_end() */
	}
	atomic_fetch_sub(&busy, 1);
}

/* Creates with a process that executes userns-join. Takes twice as long, because a program is executed. */
static void create_in_own_memory(const struct create_request *request, struct outcome *out)
{
	struct join_process join;

	if (join_process_start(&join, -1, out) < 0) return;
	fill(request, &join.child, out);
	join_process_end(&join);
}

/* A program may take long. setuid(2) must not wait for it, so trace_guard_begin() must not be in force while it runs. */
static enum trace_guard trace_guard_for(const struct create_request *request)
{
	enum trace_guard guard = trace_guard_kind();

	if (guard != TRACE_GUARD_NOT_DUMPABLE) return guard;
	return create_calls_programs(request) || trace_guard_begin() < 0 ? TRACE_GUARD_OWN_MEMORY : guard;
}

/*
 * setuid() on another thread: credentials must not change during a creation, so every signal is blocked from the reading of the
 * credentials until the children are reaped. This includes the internal signal of libc by which setuid() changes the IDs of this
 * thread, so setuid() waits. Otherwise the children would keep the old IDs, and neither this process nor the kernel at our end
 * could kill them (PR_SET_PDEATHSIG checks the permission too); and trace_guard_end() would make the process dumpable after the
 * kernel has made it not dumpable because of the new IDs. The thread that called setuid() changes last.
 */
static void create(struct child *children, const struct create_request *const *requests, struct outcome *const *outs,
		   int count)
{
	kernel_sigset before;

	signals_block(&before);
	enum trace_guard guard = trace_guard_for(requests[0]);
	if (guard != TRACE_GUARD_OWN_MEMORY) create_sharing_memory(children, requests, outs, count, &before);
	if (guard == TRACE_GUARD_NOT_DUMPABLE) trace_guard_end();
	signals_set(&before, NULL);
	if (guard != TRACE_GUARD_OWN_MEMORY) return;
	for (int i = 0; i < count; i++) create_in_own_memory(requests[i], outs[i]);
}

static void create_one(const struct create_request *request, struct outcome *out)
{
	struct child child;

	create(&child, &request, &out, 1);
}

/* Returns 0 if the requests must be created one after the other. */
static int create_batch(const struct create_request *const *requests, struct outcome *const *outs, int count)
{
	struct child *children;

	if (count == 1 || !batch_gate_begin()) return 0;
	children = malloc((size_t)count * sizeof *children);
	if (children != NULL) create(children, requests, outs, count);
	batch_gate_end();
	free(children);
	return children != NULL;
}

/*
 * Returns 1 for a creation that ran short of processes, descriptors or memory, which a batch needs more of. A request whose program
 * has run cannot be repeated, because its arguments were modified.
 */
static int ran_short(const struct outcome *out)
{
	for (int i = 0; i < OUTCOME_TEXTS; i++) {
		if (out->texts[i] != NULL) return 0;
	}
	return out->error == -EAGAIN || out->error == -EMFILE || out->error == -ENFILE || out->error == -ENOMEM;
}

static void create_alone(const struct create_request *request, struct outcome *out)
{
	*out = (struct outcome){.fd = -1};
	alone_begin();
	create_one(request, out);
	alone_end();
}

void create_namespaces(const struct create_request *const *requests, struct outcome *const *outs, int count)
{
	unsigned before = batch_gate_ended();
	int created = create_batch(requests, outs, count);

	for (int i = 0; i < count; i++) {
		if (!created) create_one(requests[i], outs[i]);
		if (ran_short(outs[i]) && batch_gate_since(before)) create_alone(requests[i], outs[i]);
	}
}
