#include "mount-binding.h"
#include "answers.h"
#include "inside.h"
#include "mount-facts.h"
#include "mount-long-calls.h"
#include "read-piece.h"
#include "short-calls.h"
#include "values.h"
#include "walk-calls.h"
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

/* More than any answer has: 340 extents of both kinds, and some paths of PATH_MAX. */
#define MOST_BYTES (1 << 24)
#define MOST_IDS (1 << 16)

/* openMountNamespace(path) */
static napi_value open_mount_namespace(napi_env env, napi_callback_info info)
{
	return short_open(env, info, mount_namespace_open);
}

/* openProcess(pid): a pidfd */
static napi_value open_process(napi_env env, napi_callback_info info)
{
	napi_value arguments[1];
	struct outcome out = {.fd = -1};
	struct owned *owned;
	double pid;
	int fd;

	if (!value_arguments(env, info, 1, arguments, &owned)) return NULL;
	if (!value_integer(env, arguments[0], 1, INT_MAX, &pid)) return NULL;
	fd = (int)syscall(SYS_pidfd_open, (int)pid, 0);
	if (fd < 0) outcome_fail(&out, -errno, "pidfd");
	else out.fd = fd;
	return answer_outcome(env, owned, &out);
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
	struct owned *owned;
	napi_value number;
	uint64_t id = 0;
	int error;
	int fd;

	if (!value_arguments(env, info, 1, arguments, &owned) || !value_fd(env, arguments[0], &fd)) return NULL;
	error = mount_namespace_id(fd, &id);
	if (error < 0) return answer_number(env, error);
	return napi_create_bigint_uint64(env, id, &number) == napi_ok ? number : NULL;
}

/* mountFacts(fd): [mount ID, unique mount ID or 0, 1 for the root of a mount] as bigints, or a negative errno */
static napi_value facts_of(napi_env env, napi_callback_info info)
{
	napi_value arguments[1];
	struct mount_facts facts;
	struct owned *owned;
	uint64_t numbers[3];
	int error;
	int fd;

	if (!value_arguments(env, info, 1, arguments, &owned) || !value_fd(env, arguments[0], &fd)) return NULL;
	error = mount_facts(fd, &facts);
	if (error < 0) return answer_number(env, error);
	numbers[0] = facts.id;
	numbers[1] = facts.unique;
	numbers[2] = (uint64_t)facts.root;
	return answer_bigs(env, numbers, 3);
}

/* statmount(unique ID, mount namespace ID or 0, mask, bytes): what the kernel wrote, or a negative errno */
static napi_value statmount_(napi_env env, napi_callback_info info)
{
	napi_value arguments[4];
	struct owned *owned;
	napi_value buffer;
	uint64_t numbers[3];
	double size;
	void *data;
	int error;

	if (!value_arguments(env, info, 4, arguments, &owned)) return NULL;
	for (int i = 0; i < 3; i++) {
		if (!value_big(env, arguments[i], &numbers[i])) return NULL;
	}
	if (!value_integer(env, arguments[3], 0, MOST_BYTES, &size)) return NULL;
	if (napi_create_arraybuffer(env, (size_t)size, &data, &buffer) != napi_ok) return NULL;
	error = call_statmount(numbers[0], numbers[1], numbers[2], data, (size_t)size);
	return error < 0 ? answer_number(env, error) : buffer;
}

/* listmount(unique ID, mount namespace ID or 0, last ID, most): an array of bigints, or a negative errno */
static napi_value listmount_(napi_env env, napi_callback_info info)
{
	napi_value arguments[4];
	struct owned *owned;
	napi_value array;
	uint64_t numbers[3];
	uint64_t *ids;
	double most;
	long count;

	if (!value_arguments(env, info, 4, arguments, &owned)) return NULL;
	for (int i = 0; i < 3; i++) {
		if (!value_big(env, arguments[i], &numbers[i])) return NULL;
	}
	if (!value_integer(env, arguments[3], 1, MOST_IDS, &most)) return NULL;
	ids = calloc((size_t)most, sizeof *ids);
	if (ids == NULL) return answer_number(env, -ENOMEM);
	count = call_listmount(numbers[0], numbers[1], numbers[2], ids, (size_t)most);
	array = count < 0 ? answer_number(env, (double)count) : answer_bigs(env, ids, (uint32_t)count);
	free(ids);
	return array;
}

static double acknowledge(struct owned *owned, int fd)
{
	owned_told(owned, fd);
	return 0;
}

/* told(fd): JavaScript has the mount of this descriptor from now on, see owned_attached(); 0 */
static napi_value told(napi_env env, napi_callback_info info)
{
	return short_number(env, info, acknowledge);
}

static double forget(struct owned *owned, int fd)
{
	return owned_forget(owned, fd);
}

/* disown(fd): 0 or EBADF for a descriptor that this environment does not own */
static napi_value disown(napi_env env, napi_callback_info info)
{
	return short_number(env, info, forget);
}

int mount_export(napi_env env, napi_value exports, struct owned *owned)
{
	static const struct function functions[] = {
		{"openPlace", long_open_place},
		{"tree", long_tree},
		{"attach", long_attach},
		{"mount", long_mount},
		{"told", told},
		{"disown", disown},
		{"detach", long_detach},
		{"overlay", long_overlay},
		{"openMountNamespace", open_mount_namespace},
		{"openProcess", open_process},
		{"mountNamespaceOf", namespace_of},
		{"rootOf", root_of},
		{"mountTable", table_of},
		{"mountTableOf", table_of_process},
		{"readPiece", read_piece},
		{"mountNamespaceId", namespace_id},
		{"mountFacts", facts_of},
		{"statmount", statmount_},
		{"listmount", listmount_},
		{"walk", walk_call},
		{"openNamespace", walk_open_namespace},
		{"pin", walk_pin},
	};

	return short_export(env, exports, functions, sizeof functions / sizeof functions[0], owned);
}
