/* The surface that src/native/ calls: checks the arguments, calls one function, answers an outcome. */
#include "addon/results.h"
#include "kernel/kernel-abi.h"
#include "addon/create-method.h"
#include "addon/environment.h"
#include "child/exec-self.h"
#include "addon/method.h"
#include "addon/async-methods.h"
#include "addon/mount-methods.h"
#include "proc/nsfs.h"
#include "addon/sync-methods.h"
#include "proc/sysctl.h"
#include "addon/arguments.h"
#include <errno.h>
#include <limits.h>
#include <stdlib.h>

/* openPath(path): the descriptor alone, or a negative errno; making an object takes longer than the system calls */
static napi_value open_path(napi_env env, napi_callback_info info)
{
	struct outcome out = {.fd = -1};
	struct fd_registry *registry;
	char *path = short_path(env, info, &registry);

	if (path == NULL) return NULL;
	nsfs_open_path(path, CLONE_NEWUSER, &out);
	free(path);
	if (out.error < 0) out.fd = out.error;
	return answer_fd(env, registry, &out.fd);
}

/* The descriptor, or a negative errno where it could not be kept, and the texts. */
static napi_value answer_opened(napi_env env, struct fd_registry *registry, struct outcome *out)
{
	napi_value number = answer_fd(env, registry, &out->fd);
	napi_value texts = answer_maps(env, out);
	napi_value array;

	if (number != NULL && texts != NULL && napi_create_array_with_length(env, 2, &array) == napi_ok &&
	    napi_set_element(env, array, 0, number) == napi_ok && napi_set_element(env, array, 1, texts) == napi_ok) {
		return array;
	}
	if (out->fd >= 0) fd_registry_close(registry, out->fd);
	return NULL;
}

/* openPid(pid): [descriptor, texts], or an outcome with an error */
static napi_value open_pid(napi_env env, napi_callback_info info)
{
	napi_value arguments[1];
	struct outcome out = {.fd = -1};
	struct fd_registry *registry;
	double pid;

	if (!value_arguments(env, info, 1, arguments, &registry)) return NULL;
	if (!value_integer(env, arguments[0], 1, INT_MAX, &pid)) return NULL;
	nsfs_open_pid((int)pid, &out);
	return out.error < 0 ? answer_outcome(env, registry, &out) : answer_opened(env, registry, &out);
}

static int duplicate_fd(int fd)
{
	/* Never in the place of a standard stream that this process has closed: see answer_outcome(). */
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	return copy < 0 ? -errno : copy;
}

/* duplicate(fd) */
static napi_value duplicate(napi_env env, napi_callback_info info)
{
	return short_derive(env, info, duplicate_fd, "duplicate");
}

/* copy(fd): as duplicate, the descriptor alone or a negative errno: see openPath */
static napi_value copy(napi_env env, napi_callback_info info)
{
	napi_value arguments[1];
	struct fd_registry *registry;
	int fd;

	if (!value_arguments(env, info, 1, arguments, &registry) || !value_fd(env, arguments[0], &fd)) return NULL;
	fd = duplicate_fd(fd);
	return answer_fd(env, registry, &fd);
}

/* parent(fd) */
static napi_value parent(napi_env env, napi_callback_info info)
{
	return short_derive(env, info, nsfs_parent, "parent");
}

/* close(fd): 0, or EBADF for a descriptor that this environment does not own */
static napi_value close_(napi_env env, napi_callback_info info)
{
	napi_value arguments[1];
	struct fd_registry *registry;
	int fd;

	if (!value_arguments(env, info, 1, arguments, &registry) || !value_fd(env, arguments[0], &fd)) return NULL;
	return answer_number(env, fd_registry_close(registry, fd));
}

/* identify(fd): [st_dev, st_ino, NS_GET_ID or 0] as bigints, or a negative errno */
static napi_value identify(napi_env env, napi_callback_info info)
{
	napi_value arguments[1];
	struct ns_identity identity;
	struct fd_registry *registry;
	uint64_t numbers[3];
	int error;
	int fd;

	if (!value_arguments(env, info, 1, arguments, &registry) || !value_fd(env, arguments[0], &fd)) return NULL;
	error = nsfs_identify(fd, &identity);
	if (error < 0) return answer_number(env, error);
	numbers[0] = identity.device;
	numbers[1] = identity.inode;
	numbers[2] = identity.id;
	return answer_bigs(env, numbers, 3);
}

/* suidDumpable(): the number, or a negative errno */
static napi_value suid_dumpable(napi_env env, napi_callback_info info)
{
	(void)info;
	return answer_number(env, sysctl_suid_dumpable());
}

/* ownerUid(fd): the uid, or a negative errno */
static napi_value owner_uid(napi_env env, napi_callback_info info)
{
	napi_value arguments[1];
	struct fd_registry *registry;
	uint32_t uid = 0;
	int error;
	int fd;

	if (!value_arguments(env, info, 1, arguments, &registry) || !value_fd(env, arguments[0], &fd)) return NULL;
	error = nsfs_owner(fd, &uid);
	return answer_number(env, error < 0 ? error : (double)uid);
}

/* MAX_ARG_STRLEN: 32 pages, of 4096 bytes or more; execve(2) itself says E2BIG for the rest. */
#define ARGUMENT_BYTES (32 * 65536)

/* execute(program, arguments, environment, fd): a negative errno; does not come back otherwise */
static napi_value execute(napi_env env, napi_callback_info info)
{
	napi_value arguments[4];
	struct fd_registry *registry;
	char **environment = NULL;
	char **argv = NULL;
	char *program;
	napi_value result = NULL;
	int fd;

	if (!value_arguments(env, info, 4, arguments, &registry) || !value_fd(env, arguments[3], &fd)) return NULL;
	program = value_text(env, arguments[0], PATH_MAX);
	if (program != NULL) argv = value_texts(env, arguments[1], ARGUMENT_BYTES);
	if (argv != NULL) environment = value_texts(env, arguments[2], ARGUMENT_BYTES);
	if (environment != NULL) result = answer_number(env, exec_self(program, argv, environment, fd));
	value_free_texts(environment);
	value_free_texts(argv);
	free(program);
	return result;
}

static void end_environment(napi_env env, void *data, void *hint)
{
	struct environment *environment = data;

	(void)env;
	(void)hint;
	creations_end(environment->creations);
	if (environment->workshop != NULL) workshop_end(environment->workshop);
	if (environment->jobs != NULL) jobs_end(environment->jobs);
	if (environment->registry != NULL) fd_registry_end(environment->registry);
	free(environment);
}

static struct environment *new_environment(napi_env env)
{
	struct environment *environment = calloc(1, sizeof *environment);

	if (environment == NULL) return NULL;
	environment->registry = fd_registry_new();
	environment->workshop = workshop_new();
	environment->jobs = jobs_new(env, environment->registry);
	if (environment->registry != NULL && environment->workshop != NULL && environment->jobs != NULL) return environment;
	end_environment(env, environment, NULL);
	return NULL;
}

NAPI_MODULE_INIT()
{
	const struct function functions[] = {
		{"readMaps", long_read_maps}, {"openPath", open_path}, {"openPid", open_pid},   {"duplicate", duplicate},
		{"copy", copy},               {"parent", parent},      {"close", close_},       {"identify", identify},
		{"ownerUid", owner_uid},      {"execute", execute},    {"suidDumpable", suid_dumpable},
	};
	const struct function creator = {"creator", create_creator};
	struct environment *environment = new_environment(env);

	if (environment == NULL) return NULL;
	/* The end of the environment closes what it owns: a worker may be terminated at any moment. */
	if (napi_set_instance_data(env, environment, end_environment, NULL) != napi_ok) {
		end_environment(env, environment, NULL);
		return NULL;
	}
	if (!short_export(env, exports, functions, sizeof functions / sizeof functions[0], environment->registry) ||
	    !short_export(env, exports, &creator, 1, environment)) {
		return NULL;
	}
	return mount_export(env, exports, environment->registry) ? exports : NULL;
}
