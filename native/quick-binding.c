#include "quick-binding.h"
#include "answers.h"
#include "detach.h"
#include "mount-facts.h"
#include "quick-mount.h"
#include "short-calls.h"
#include "values.h"

/* A descriptor, or a path, for which there is room. */
static int value_place(napi_env env, napi_value value, struct place *place, char path[VALUE_PATH])
{
	napi_valuetype type;

	*place = (struct place){.fd = -1, .path = path};
	if (napi_typeof(env, value, &type) != napi_ok || type != napi_number) return value_path(env, value, path);
	place->path = NULL;
	return value_fd(env, value, &place->fd);
}

/*
 * quickMount(source, target, resolve, ns, set, clear, propagation): a descriptor of the mount, or a negative errno. A source or
 * a target is a path or a descriptor.
 */
napi_value quick_mount(napi_env env, napi_callback_info info)
{
	napi_value arguments[7];
	struct quick_request request;
	struct owned *owned;
	napi_value answer;
	char source[VALUE_PATH];
	char target[VALUE_PATH];
	double numbers[4];
	int error;
	int tree;

	if (!value_arguments(env, info, 7, arguments, &owned) ||
	    !value_place(env, arguments[0], &request.source, source) ||
	    !value_place(env, arguments[1], &request.target, target) ||
	    !value_integer(env, arguments[2], 0, UINT32_MAX, &numbers[0]) || !value_fd(env, arguments[3], &request.ns)) {
		return NULL;
	}
	for (int i = 1; i < 4; i++) {
		if (!value_integer(env, arguments[i + 3], 0, UINT32_MAX, &numbers[i])) return NULL;
	}
	request.source.resolve = request.target.resolve = (uint64_t)numbers[0];
	request.attr_set = (uint64_t)numbers[1];
	request.attr_clr = (uint64_t)numbers[2];
	request.propagation = (uint64_t)numbers[3];
	tree = quick_copy(&request);
	/* The answer is made first: once the mount is attached nothing can fail that would leave it without an owner. */
	answer = answer_fd(env, owned, &tree);
	if (answer == NULL || tree < 0) return answer;
	error = quick_attach(&request, tree);
	if (error < 0) {
		owned_close(owned, tree);
		return answer_number(env, error);
	}
	owned_attached(owned, tree, -1);
	return answer;
}

static double tell(struct owned *owned, int fd)
{
	owned_told(owned, fd);
	return 0;
}

/* told(fd): the caller knows of the mount from now on, see owned_attached(); 0 */
napi_value quick_told(napi_env env, napi_callback_info info)
{
	return short_number(env, info, tell);
}

static double take_off(struct owned *owned, int fd)
{
	struct mount_facts facts;
	int error = mount_facts(fd, &facts);

	if (error == 0) error = mount_detach_alone(fd, facts.unique);
	if (error != 0) return error < 0 ? error : 0;
	owned_close(owned, fd);
	return (double)facts.id;
}

/*
 * unmount(fd): the number of the mount, which is off now, and its descriptor closed; 0 when something was taken off that was
 * mounted on it at that very moment; or a negative errno, with nothing changed
 */
napi_value quick_unmount(napi_env env, napi_callback_info info)
{
	return short_number(env, info, take_off);
}
