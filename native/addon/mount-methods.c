#include "addon/mount-methods.h"
#include "addon/results.h"
#include "mount/mntns-child.h"
#include "mount/mount-id.h"
#include "addon/mount-async-methods.h"
#include "addon/read-methods.h"
#include "addon/sync-methods.h"
#include "addon/arguments.h"
#include "addon/path-methods.h"
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

/* openProcess(pid): a pidfd */
static napi_value open_process(napi_env env, napi_callback_info info)
{
	napi_value arguments[1];
	struct outcome out = {.fd = -1};
	struct fd_registry *registry;
	double pid;
	int fd;

	if (!value_arguments(env, info, 1, arguments, &registry)) return NULL;
	if (!value_integer(env, arguments[0], 1, INT_MAX, &pid)) return NULL;
	fd = (int)syscall(SYS_pidfd_open, (int)pid, 0);
	if (fd < 0) outcome_fail(&out, -errno, "pidfd");
	else out.fd = fd;
	return answer_outcome(env, registry, &out);
}

/* mountNamespaceOf(pidfd) */
static napi_value namespace_of(napi_env env, napi_callback_info info)
{
	return short_derive(env, info, mount_namespace_of, "mount namespace");
}

/* rootOf(pidfd) */
static napi_value root_of(napi_env env, napi_callback_info info)
{
	return short_derive(env, info, mount_root_of, "process root");
}

/* mountTableOf(pidfd): a descriptor of its mountinfo */
static napi_value table_of_process(napi_env env, napi_callback_info info)
{
	return short_derive(env, info, mount_table_of_process, "process mounts");
}

/* mountTable(mountNs): a descriptor of its mountinfo */
static napi_value table_of(napi_env env, napi_callback_info info)
{
	return short_derive(env, info, mount_table_of, "mount table");
}

/* mountNamespaceId(fd): a bigint, or a negative errno */
static napi_value namespace_id(napi_env env, napi_callback_info info)
{
	napi_value arguments[1];
	struct fd_registry *registry;
	napi_value number;
	uint64_t id = 0;
	int error;
	int fd;

	if (!value_arguments(env, info, 1, arguments, &registry) || !value_fd(env, arguments[0], &fd)) return NULL;
	error = mount_namespace_id(fd, &id);
	if (error < 0) return answer_number(env, error);
	return napi_create_bigint_uint64(env, id, &number) == napi_ok ? number : NULL;
}

/* mountFacts(fd): [mount ID, unique mount ID or 0, 1 for the root of a mount] as bigints, or a negative errno */
static napi_value facts_of(napi_env env, napi_callback_info info)
{
	napi_value arguments[1];
	struct mount_ids ids;
	struct fd_registry *registry;
	uint64_t numbers[3];
	int error;
	int fd;

	if (!value_arguments(env, info, 1, arguments, &registry) || !value_fd(env, arguments[0], &fd)) return NULL;
	error = mount_ids(fd, &ids);
	if (error < 0) return answer_number(env, error);
	numbers[0] = ids.id;
	numbers[1] = ids.unique;
	numbers[2] = (uint64_t)ids.root;
	return answer_bigs(env, numbers, 3);
}

static double acknowledge(struct fd_registry *registry, int fd)
{
	fd_registry_acknowledge(registry, fd);
	return 0;
}

/* told(fd): acknowledges that JavaScript has received the mount of this descriptor, see fd_registry_attached(); 0 */
static napi_value told(napi_env env, napi_callback_info info)
{
	return short_number(env, info, acknowledge);
}

static double forget(struct fd_registry *registry, int fd)
{
	return fd_registry_remove(registry, fd);
}

/* disown(fd): 0 or EBADF for a descriptor that this environment does not own */
static napi_value disown(napi_env env, napi_callback_info info)
{
	return short_number(env, info, forget);
}

int mount_export(napi_env env, napi_value exports, struct fd_registry *registry)
{
	static const struct function functions[] = {
		{"openPlace", long_open_location},
		{"tree", long_tree},
		{"attach", long_attach},
		{"mount", long_mount},
		{"told", told},
		{"disown", disown},
		{"detach", long_detach},
		{"joinPeers", long_join_peers},
		{"closeLater", long_close},
		{"overlay", long_overlay},
		{"openProcess", open_process},
		{"mountNamespaceOf", namespace_of},
		{"rootOf", root_of},
		{"mountTable", table_of},
		{"mountTableOf", table_of_process},
		{"readPiece", read_piece},
		{"mountNamespaceId", namespace_id},
		{"mountFacts", facts_of},
		{"statmount", read_statmount},
		{"listmount", read_listmount},
		{"walk", walk_call},
		{"openNamespace", walk_open_namespace},
		{"pin", walk_pin},
	};

	return short_export(env, exports, functions, sizeof functions / sizeof functions[0], registry);
}
