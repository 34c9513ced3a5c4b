#include "addon/method.h"
#include "addon/create-method.h"
#include "child/dry-call.h"
#include "child/exec-self.h"
#include "child/own-program.h"
#include "kernel/kernel-abi.h"
#include "mount/mntns-child.h"
#include "mount/mount-id.h"
#include "proc/nsfs.h"
#include "proc/procfs.h"
#include "proc/sysctl.h"
#include "userns/read-maps.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static int fd_argument(const struct call *call, int index)
{
	return (int)call->arguments[index].number;
}

/* The result is a descriptor, or a negative errno at a step. */
static void set_fd(struct call *call, int fd, const char *step)
{
	if (fd < 0) outcome_fail(&call->task.result.out, fd, step);
	else call->task.result.out.fd = fd;
}

static void run_derive(struct call *call)
{
	set_fd(call, call->method->derive(fd_argument(call, 0)), call->method->step);
}

static void run_read_maps(struct call *call)
{
	read_maps(fd_argument(call, 0), &call->task.result.out);
}

static void run_open_path(struct call *call)
{
	nsfs_open_path(call->arguments[0].text, (int)call->arguments[1].number, &call->task.result.out);
}

static void run_user_namespace_of(struct call *call)
{
	nsfs_open_process(fd_argument(call, 0), 0, &call->task.result.out);
}

static void run_open_id(struct call *call)
{
	set_fd(call, nsfs_open_id(call->arguments[0].big, (uint32_t)call->arguments[1].number), "handle");
}

static void run_open_pid(struct call *call)
{
	nsfs_open_pid((int)call->arguments[0].number, &call->task.result.out);
}

static int duplicate(int fd)
{
	/* Never in the place of a standard stream that this process has closed, see register_fd(). */
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	return copy < 0 ? -errno : copy;
}

/*
 * copy() and close() have their own functions: each cached handle that is returned takes both, and method_call() adds about
 * 45 ns to the 200 ns of each. The only argument is a descriptor.
 */
static struct fd_registry *read_fd(napi_env env, napi_callback_info info, int *fd)
{
	static const enum argument_kind kinds[] = {ARGUMENT_FD, ARGUMENT_END};
	struct argument argument;
	napi_value value;
	size_t given = 1;
	struct bound_method *bound;

	if (napi_get_cb_info(env, info, &given, &value, NULL, (void **)&bound) != napi_ok) return NULL;
	if (arguments_read(env, kinds, &value, given, &argument) < 0) return NULL;
	*fd = (int)argument.number;
	return bound->environment->registry;
}

static napi_value copy_fd(napi_env env, napi_callback_info info)
{
	int fd;
	struct fd_registry *registry = read_fd(env, info, &fd);
	napi_value value;
	int error;

	if (registry == NULL) return NULL;
	fd = duplicate(fd);
	error = fd < 0 ? 0 : fd_registry_add(registry, fd);
	if (error < 0) close(fd);
	if (napi_create_int32(env, error < 0 ? error : fd, &value) == napi_ok) return value;
	if (fd >= 0) fd_registry_close(registry, fd);
	return NULL;
}

static napi_value close_fd(napi_env env, napi_callback_info info)
{
	int fd;
	struct fd_registry *registry = read_fd(env, info, &fd);
	napi_value value;

	if (registry == NULL) return NULL;
	return napi_create_int32(env, fd_registry_close(registry, fd), &value) == napi_ok ? value : NULL;
}

static void run_unregister(struct call *call)
{
	call->task.result.out.error = fd_registry_remove(call->environment->registry, fd_argument(call, 0));
}

static void run_acknowledge(struct call *call)
{
	fd_registry_acknowledge(call->environment->registry, fd_argument(call, 0));
}

static void run_identify(struct call *call)
{
	struct result *result = &call->task.result;
	struct ns_identity identity = {0};

	result->out.error = nsfs_identify(fd_argument(call, 0), &identity);
	result->numbers[0] = identity.device;
	result->numbers[1] = identity.inode;
	result->numbers[2] = identity.id;
}

static void run_owner_uid(struct call *call)
{
	uint32_t uid = 0;

	call->task.result.out.error = nsfs_owner(fd_argument(call, 0), &uid);
	call->task.result.numbers[0] = uid;
}

static void run_suid_dumpable(struct call *call)
{
	int value = sysctl_suid_dumpable();

	if (value < 0) call->task.result.out.error = value;
	else call->task.result.numbers[0] = (uint64_t)value;
}

static void run_dry_call(struct call *call)
{
	int answered = dry_call((uint32_t)call->arguments[0].number, call->arguments[1].number != 0);

	if (answered < 0) call->task.result.out.error = answered;
	else call->task.result.numbers[0] = (uint64_t)answered;
}

static void run_open_program(struct call *call)
{
	int fd = own_program_open(USERNS_ENTER, fd_argument(call, 0));
	int error = fd < 0 ? fd : procfs_check_own_path(fd);

	if (fd >= 0 && error < 0) close(fd);
	set_fd(call, error < 0 ? error : fd, fd < 0 ? "own program" : "own path");
}

/* Returns after a failure only. */
static void run_exec_self(struct call *call)
{
	const struct argument *arguments = call->arguments;

	const struct exec_fds fds = {arguments[2].fds, arguments[2].count, (int)arguments[3].number};

	exec_self(arguments[0].texts, arguments[1].texts, &fds, &call->task.result.out);
}

static void run_open_process(struct call *call)
{
	int fd = (int)syscall(SYS_pidfd_open, (int)call->arguments[0].number, 0);

	set_fd(call, fd < 0 ? -errno : fd, "pidfd");
}

static void run_namespace_of(struct call *call)
{
	set_fd(call, nsfs_of_process(fd_argument(call, 0), -1, (int)call->arguments[1].number), "process namespace");
}

static void run_mount_namespace_id(struct call *call)
{
	call->task.result.out.error = mount_namespace_id(fd_argument(call, 0), &call->task.result.numbers[0]);
}

static void run_mount_ids(struct call *call)
{
	struct result *result = &call->task.result;
	struct mount_ids ids = {0};

	result->out.error = mount_ids(fd_argument(call, 0), &ids);
	result->numbers[0] = ids.id;
	result->numbers[1] = ids.unique;
	result->numbers[2] = (uint64_t)ids.root;
}

static void run_file_owner(struct call *call)
{
	struct result *result = &call->task.result;

	result->out.error = file_owner(fd_argument(call, 0), result->numbers);
}

/* The call becomes the owner of the descriptor. */
static void begin_close_later(struct call *call)
{
	int fd = fd_argument(call, 0);
	int error = fd_registry_remove(call->environment->registry, fd);

	if (error < 0) outcome_fail(&call->task.result.out, error, "own");
	else call->fd = fd;
}

/*
 * Closing the last descriptor of an unmounted mount may shut its file system down, which takes as long as the writing of its
 * data. Therefore the close is a long wait: four of them must not block the creations and mounts behind them.
 */
static void run_close_later(struct call *call)
{
	struct waiter *waiter = call->waiter;

	waiter->long_wait(waiter, 1);
	close(call->fd);
	call->fd = -1;
	waiter->long_wait(waiter, -1);
}

/* Reads from a duplicate: a number that is closed meanwhile could be reused for another file, whose bytes would be lost. */
static void begin_read_piece(struct call *call)
{
	call->fd = fcntl(fd_argument(call, 0), F_DUPFD_CLOEXEC, 3);
	if (call->fd < 0) outcome_fail(&call->task.result.out, -errno, "duplicate");
}

/*
 * A seq_file returns about a page for each read(2), so one piece takes several. A socket has no more for now (EAGAIN) if another
 * process still has its other end.
 */
static void run_read_piece(struct call *call)
{
	struct outcome *out = &call->task.result.out;
	const size_t most = (size_t)call->arguments[1].number;
	size_t length = 0;
	ssize_t got;
	char *bytes = malloc(most);

	if (bytes == NULL) {
		outcome_fail(out, -ENOMEM, "read mounts");
		return;
	}
	do {
		got = read(call->fd, bytes + length, most - length);
		if (got > 0) length += (size_t)got;
	} while (length < most && (got > 0 || (got < 0 && errno == EINTR)));
	if (got < 0 && !(errno == EAGAIN && length > 0)) {
		outcome_fail(out, -errno, "read mounts");
		length = 0;
	}
	if (length == 0) {
		free(bytes);
		return;
	}
	out->bytes = bytes;
	out->length = length;
}

static void set_bytes(struct call *call, void *bytes, size_t length, long error, const char *step)
{
	struct outcome *out = &call->task.result.out;

	if (bytes == NULL) error = -ENOMEM;
	if (error < 0) {
		free(bytes);
		outcome_fail(out, (int)error, step);
		return;
	}
	out->bytes = bytes;
	out->length = length;
}

static void run_statmount(struct call *call)
{
	const struct argument *arguments = call->arguments;
	const size_t size = (size_t)arguments[4].number;
	const int fd = fd_argument(call, 0);
	void *bytes = calloc(1, size + 1); /* calloc(0) may return NULL */
	int error = 0;

	if (bytes != NULL && fd >= 0) error = call_statmount_of(fd, arguments[3].big, bytes, size);
	else if (bytes != NULL) error = call_statmount(arguments[1].big, arguments[2].big, arguments[3].big, bytes, size);
	set_bytes(call, bytes, size, error, "statmount");
}

static void run_listmount(struct call *call)
{
	const struct argument *arguments = call->arguments;
	const size_t most = (size_t)arguments[3].number;
	uint64_t *ids = calloc(most, sizeof *ids);
	long count = 0;

	if (ids != NULL) count = call_listmount(arguments[0].big, arguments[1].big, arguments[2].big, ids, most);
	set_bytes(call, ids, (size_t)count * sizeof *ids, count, "listmount");
}

static void run_list_namespaces(struct call *call)
{
	const size_t most = (size_t)call->arguments[1].number;
	uint64_t *ids = calloc(most, sizeof *ids);
	long count = ids == NULL ? 0 : nsfs_list(call->arguments[0].big, ids, most);

	set_bytes(call, ids, (size_t)count * sizeof *ids, count, "listns");
}

/* Short names for the rows. */
#define FD ARGUMENT_FD
#define FD_OR_NONE ARGUMENT_FD_OR_NONE
#define U32 ARGUMENT_U32
#define LATER ARGUMENT_BOOLEAN
#define FLAG ARGUMENT_BOOLEAN
#define LOCATION ARGUMENT_FD_OR_NONE, ARGUMENT_PATH_OR_NULL, ARGUMENT_U32
#define QUERY ARGUMENT_BIGINT, ARGUMENT_BIGINT, ARGUMENT_BIGINT

#define METHOD(method_name, method_thread, method_result, method_run, ...)                                                      \
	.name = method_name, .thread = method_thread, .result = method_result, .run = method_run, .arguments = {__VA_ARGS__},   \
	.callback = method_call
#define DERIVE(name, function, failed_step)                                                                                     \
	METHOD(name, ON_CALLER, RESULT_OUTCOME, run_derive, FD), .derive = function, .step = failed_step

/* src/native/addon.ts has the names of the arguments and what each method does. */
const struct method methods[] = {
	{METHOD("readMaps", ON_EITHER, RESULT_MAPS, run_read_maps, FD, LATER)},
	{METHOD("openPath", ON_CALLER, RESULT_FD, run_open_path, ARGUMENT_PATH, ARGUMENT_NS_KIND)},
	{METHOD("openPid", ON_CALLER, RESULT_FD_AND_MAPS, run_open_pid, ARGUMENT_PID)},
	{METHOD("userNamespaceOf", ON_CALLER, RESULT_FD_AND_MAPS, run_user_namespace_of, FD)},
	{METHOD("openId", ON_CALLER, RESULT_OUTCOME, run_open_id, ARGUMENT_BIGINT, U32)},
	{METHOD("listNamespaces", ON_CALLER, RESULT_OUTCOME, run_list_namespaces, ARGUMENT_BIGINT, ARGUMENT_ID_COUNT)},
	{DERIVE("duplicate", duplicate, "duplicate")},
	{.name = "copy", .arguments = {FD}, .callback = copy_fd},
	{DERIVE("parent", nsfs_parent, "parent")},
	{.name = "close", .arguments = {FD}, .callback = close_fd},
	{METHOD("unregister", ON_CALLER, RESULT_NUMBER, run_unregister, FD)},
	{METHOD("acknowledge", ON_CALLER, RESULT_NUMBER, run_acknowledge, FD)},
	{METHOD("identify", ON_CALLER, RESULT_BIGINTS, run_identify, FD)},
	{METHOD("ownerUid", ON_CALLER, RESULT_NUMBER, run_owner_uid, FD)},
	{METHOD("suidDumpable", ON_CALLER, RESULT_NUMBER, run_suid_dumpable, ARGUMENT_END)},
	{METHOD("dryCall", ON_CALLER, RESULT_NUMBER, run_dry_call, U32, FLAG)},
	{METHOD("openProgram", ON_CALLER, RESULT_OUTCOME, run_open_program, FD)},
	{METHOD("execSelf", ON_CALLER, RESULT_OUTCOME, run_exec_self, ARGUMENT_WORDS, ARGUMENT_WORDS, ARGUMENT_FDS, FD)},
	{METHOD("openProcess", ON_CALLER, RESULT_OUTCOME, run_open_process, ARGUMENT_PID)},
	{METHOD("namespaceOf", ON_CALLER, RESULT_OUTCOME, run_namespace_of, FD, ARGUMENT_NS_KIND)},
	{DERIVE("ownerNamespace", nsfs_owner_namespace, "owner namespace")},
	{DERIVE("rootOf", mount_root_of, "process root")},
	{DERIVE("namespaceAround", mount_namespace_around, "open_tree namespace")},
	{DERIVE("mountTable", mount_table_of, "mount table")},
	{DERIVE("mountTableOf", mount_table_of_process, "process mounts")},
	{METHOD("mountNamespaceId", ON_CALLER, RESULT_BIGINT, run_mount_namespace_id, FD)},
	{METHOD("fileOwner", ON_CALLER, RESULT_BIGINTS, run_file_owner, FD)},
	{METHOD("mountIds", ON_CALLER, RESULT_BIGINTS, run_mount_ids, FD)},
	{METHOD("openLocation", ON_WORKER, RESULT_OUTCOME, run_open_location, FD_OR_NONE, ARGUMENT_PATH, U32, FD_OR_NONE, FLAG)},
	{METHOD("tree", ON_WORKER, RESULT_OUTCOME, run_tree, LOCATION, ARGUMENT_PATHS, ARGUMENT_PARTS, FLAG, FLAG, U32, U32, U32, FD_OR_NONE)},
	{METHOD("attach", ON_WORKER, RESULT_OUTCOME, run_attach, FD, ARGUMENT_WHOLE, LOCATION, FLAG, FLAG, U32, FD_OR_NONE)},
	{METHOD("mount", ON_WORKER, RESULT_OUTCOME, run_mount, LOCATION, LOCATION, FD, U32, U32, U32)},
	{METHOD("joinPeers", ON_WORKER, RESULT_OUTCOME, run_join_peers, FD, FD, FD_OR_NONE)},
	{METHOD("overlay", ON_WORKER, RESULT_OUTCOME, run_overlay, ARGUMENT_FDS, FD_OR_NONE, FD_OR_NONE, U32, U32, ARGUMENT_FDS, FLAG,
	       FLAG, U32, U32)},
	{METHOD("detach", ON_EITHER, RESULT_OUTCOME, run_detach, FD, ARGUMENT_WHOLE, FD_OR_NONE, FLAG, LATER)},
	{METHOD("walk", ON_EITHER, RESULT_OUTCOME, run_walk, ARGUMENT_WALK_END, ARGUMENT_WALK_LINKS, U32, FD_OR_NONE, FD_OR_NONE,
	       FLAG, ARGUMENT_PATH, LATER)},
	{METHOD("openNamespace", ON_EITHER, RESULT_OUTCOME, run_open_namespace, ARGUMENT_PATH, ARGUMENT_NS_KIND, U32, LATER)},
	{METHOD("pin", ON_EITHER, RESULT_OUTCOME, run_pin, FD, FD, LATER)},
	{METHOD("statmount", ON_EITHER, RESULT_OUTCOME, run_statmount, FD_OR_NONE, QUERY, ARGUMENT_BUFFER_SIZE, LATER)},
	{METHOD("listmount", ON_EITHER, RESULT_OUTCOME, run_listmount, QUERY, ARGUMENT_ID_COUNT, LATER)},
	{METHOD("readPiece", ON_EITHER, RESULT_OUTCOME, run_read_piece, FD, ARGUMENT_READ_SIZE, LATER), .begin = begin_read_piece},
	{METHOD("closeLater", ON_WORKER, RESULT_OUTCOME, run_close_later, FD), .begin = begin_close_later},
	{.name = "createMethod", .arguments = {CREATE_METHOD_ARGUMENTS}, .callback = create_method_new},
	{.name = "create", .arguments = {CREATE_ARGUMENTS}, .is_hidden = 1},
};

const size_t method_count = sizeof methods / sizeof *methods;
