#include "userns/create.h"
#include "child/child.h"
#include "userns/newidmap.h"
#include "userns/join-process.h"
#include "proc/nsfs.h"
#include "child/cpu-binding.h"
#include "proc/procfs-file.h"
#include "proc/procfs.h"
#include "kernel/raw-syscall.h"
#include "userns/batch-gate.h"
#include "userns/trace-guard.h"
#include "kernel/signal-mask.h"
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The creation process: it has the namespace and nothing to do. Raw system calls only: it shares our memory. */
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
 * Writes a map, or leaves it to the program: `program` becomes that one then. The kernel itself is asked whether the
 * caller may, since nobody else knows all of its rules; a write that failed has changed nothing (map_write()).
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

static int write_all(const struct create_request *request, const struct child *child, int process, struct outcome *out)
{
	const char *programs[2];

	/*
	 * setgroups before gid_map: afterwards the kernel does not take it any more, and an unprivileged writer may not
	 * write gid_map without it (user_namespaces(7), CVE-2014-8989). "allow" is written too, although it is where a
	 * namespace starts: below a parent that denies, the kernel then says EPERM instead of denying without a word.
	 */
	if (write_map(request, process, 0, &programs[0], out) < 0) return out->error;
	if (write_text(process, "setgroups", request->setgroups, out) < 0) return out->error;
	if (write_map(request, process, 1, &programs[1], out) < 0) return out->error;
	if (programs[0] == NULL && programs[1] == NULL) return 0;
	if (newidmap_write_maps(child->pidfd, programs, request->arguments, out) < 0) return out->error;
	return nsfs_read_maps(process, out);
}

static void fill(const struct create_request *request, const struct child *child, struct outcome *out)
{
	int process = procfs_open_process(child->pidfd, child->pid);
	int fd;

	if (process < 0) {
		outcome_fail(out, process, "proc");
		return;
	}
	if (write_all(request, child, process, out) == 0) {
		fd = nsfs_of_process(child->pidfd, process, CLONE_NEWUSER);
		if (fd < 0) outcome_fail(out, fd, "namespace");
		else out->fd = fd;
	}
	close(process);
}

/*
 * CLONE_VM: a copy of a large process costs milliseconds. CLONE_FILES: a copy of a large descriptor table would too, and
 * would keep every descriptor of ours open for as long as the copy lives.
 */
static void start(struct child *child, struct outcome *out, const struct cpu_binding *cpu)
{
	int error = child_start_here(child, CLONE_VM | CLONE_FILES | CLONE_NEWUSER, wait_to_be_killed, child, cpu);

	if (error < 0) outcome_fail(out, error, "clone");
}

/* How many are in create_sharing(), on whatever thread. */
static atomic_int busy;

/*
 * Who is alone stays bound until his child is killed, which then mostly never runs before it dies. Others would be in
 * each other's way on one processor while another one has nothing to do; and a program may take long.
 */
static int may_stay_bound(const struct create_request *request, int count, int others)
{
	return count == 1 && others == 0 && !create_calls_programs(request);
}

/*
 * With every signal blocked; `unblocked` is what is set while programs run, which may take long. They run beside a child that
 * shares our memory only where we have no other IDs to become (TRACE_GUARD_NONE).
 */
static void create_sharing(struct child *children, const struct create_request *const *requests,
			   struct outcome *const *outs, int count, const kernel_sigset *unblocked)
{
	int others = atomic_fetch_add(&busy, 1);
	struct cpu_binding cpu;

	cpu_bind(&cpu);
	for (int i = 0; i < count; i++) start(&children[i], outs[i], &cpu);
	if (!may_stay_bound(requests[0], count, others)) cpu_unbind(&cpu);
	if (create_calls_programs(requests[0])) signals_set(unblocked, NULL);
	for (int i = 0; i < count; i++) {
		if (children[i].pidfd < 0) continue;
		fill(requests[i], &children[i], outs[i]);
		child_kill(&children[i]);
	}
	cpu_unbind(&cpu);
	for (int i = 0; i < count; i++) {
		if (children[i].pidfd >= 0) child_reap(&children[i]); /* see child_end() */
	}
	atomic_fetch_sub(&busy, 1);
}

/* Takes twice as long: a program is executed. */
static void create_apart(const struct create_request *request, struct outcome *out)
{
	struct join_process join;

	if (join_process_start(&join, request->join_program, -1, out) < 0) return;
	fill(request, &join.child, out);
	join_process_end(&join);
}

/* A program may take long, in which setuid(2) is not to wait: what is beside it then must not hide the process. */
static enum trace_guard trace_guard_for(const struct create_request *request)
{
	enum trace_guard guard = trace_guard_kind();

	if (guard == TRACE_GUARD_NOT_DUMPABLE && (create_calls_programs(request) || trace_guard_begin() < 0)) return TRACE_GUARD_OWN_MEMORY;
	return guard;
}

/*
 * From the look at who we are to the end every signal is blocked, libc's own too, by which setuid(2) on another thread
 * changes the IDs of this one: it waits. Else the children, which keep the IDs that they began with, could be killed by us no
 * more, nor by the kernel when we die (PR_SET_PDEATHSIG asks for permission as well); and trace_guard_end() would make the
 * process dumpable again that the kernel has made otherwise for its new IDs. So setuid(2), whose own thread is the last to
 * change, finds that done.
 */
static void create(struct child *children, const struct create_request *const *requests, struct outcome *const *outs,
		   int count)
{
	kernel_sigset before;
	enum trace_guard guard;

	signals_block(&before);
	guard = trace_guard_for(requests[0]);
	if (guard != TRACE_GUARD_OWN_MEMORY) create_sharing(children, requests, outs, count, &before);
	if (guard == TRACE_GUARD_NOT_DUMPABLE) trace_guard_end();
	signals_set(&before, NULL);
	if (guard != TRACE_GUARD_OWN_MEMORY) return;
	for (int i = 0; i < count; i++) create_apart(requests[i], outs[i]);
}

static void create_one(const struct create_request *request, struct outcome *out)
{
	struct child child;

	create(&child, &request, &out, 1);
}

static int create_together(const struct create_request *const *requests, struct outcome *const *outs, int count)
{
	struct child *children;
	int made;

	if (count == 1 || !batch_gate_begin()) return 0;
	children = malloc((size_t)count * sizeof *children);
	made = children != NULL;
	if (made) create(children, requests, outs, count);
	free(children);
	batch_gate_end();
	return made;
}

/* Of processes, descriptors or memory, of which several at once take more. A program that ran has cut its words up. */
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
	int together = create_together(requests, outs, count);

	for (int i = 0; i < count; i++) {
		if (!together) create_one(requests[i], outs[i]);
		if (ran_short(outs[i]) && batch_gate_since(before)) create_alone(requests[i], outs[i]);
	}
}
