#include "addon/results.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

napi_value answer_number(napi_env env, double number)
{
	napi_value value;

	return napi_create_double(env, number, &value) == napi_ok ? value : NULL;
}

napi_value answer_bigs(napi_env env, const uint64_t *numbers, uint32_t count)
{
	napi_value array;

	if (napi_create_array_with_length(env, count, &array) != napi_ok) return NULL;
	for (uint32_t i = 0; i < count; i++) {
		napi_value number;

		if (napi_create_bigint_uint64(env, numbers[i], &number) != napi_ok) return NULL;
		if (napi_set_element(env, array, i, number) != napi_ok) return NULL;
	}
	return array;
}

/* Undefined where there is none. NULL when it cannot be made. */
static napi_value text_value(napi_env env, const char *text)
{
	napi_value value = NULL;
	napi_status status =
		text == NULL ? napi_get_undefined(env, &value) : napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &value);

	return status == napi_ok ? value : NULL;
}

static napi_value bytes_value(napi_env env, const void *bytes, size_t length)
{
	napi_value buffer;
	void *data;

	if (bytes == NULL) return text_value(env, NULL);
	if (napi_create_arraybuffer(env, length, &data, &buffer) != napi_ok) return NULL;
	memcpy(data, bytes, length);
	return buffer;
}

/*
 * Every property is an own one, also where there is nothing to tell: a name that the object lacks would be looked up in
 * Object.prototype, which any code of the process can change, and setting one would call a setter there.
 */
static int fill(napi_env env, napi_value object, const struct outcome *out)
{
	const struct {
		const char *name;
		napi_value value;
	} members[] = {
		{"error", answer_number(env, out->error)},
		{"step", text_value(env, out->step)},
		{"fd", answer_number(env, out->fd)},
		{"mountId", answer_number(env, (double)out->mount_id)},
		{"uniqueId", answer_number(env, (double)out->unique)},
		{"maps", text_value(env, out->texts[OUTCOME_MAPS])},
		{"uidSaid", text_value(env, out->texts[OUTCOME_SAID])},
		{"gidSaid", text_value(env, out->texts[OUTCOME_SAID + 1])},
		{"log", text_value(env, out->texts[OUTCOME_LOG])},
		{"bytes", bytes_value(env, out->bytes, out->length)},
		{"name", text_value(env, out->texts[OUTCOME_NAME])},
		{"uidStatus", answer_number(env, out->statuses[0])},
		{"gidStatus", answer_number(env, out->statuses[1])},
	};
	enum { COUNT = sizeof members / sizeof members[0] };
	napi_property_descriptor properties[COUNT];

	for (int i = 0; i < COUNT; i++) {
		if (members[i].value == NULL) return 0;
		properties[i] = (napi_property_descriptor){
			.utf8name = members[i].name,
			.value = members[i].value,
			.attributes = napi_default_jsproperty,
		};
	}
	return napi_define_properties(env, object, COUNT, properties) == napi_ok;
}

/*
 * A process that has closed its standard input, output or error gets their numbers for what it opens next; a program
 * that inherits these three would then have a namespace of ours as its output.
 */
static int above_standard(int fd)
{
	int copy;

	if (fd > 2) return fd;
	copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (copy < 0) copy = -errno;
	close(fd);
	return copy;
}

/* Takes it over: the descriptor, which may have become another one, or a negative errno. */
static int own(struct fd_registry *registry, int fd)
{
	int error;

	fd = above_standard(fd);
	error = fd < 0 ? fd : fd_registry_add(registry, fd);
	return error < 0 ? error : fd;
}

napi_value answer_fd(napi_env env, struct fd_registry *registry, int *fd)
{
	napi_value number;

	if (*fd >= 0) *fd = own(registry, *fd);
	number = answer_number(env, *fd);
	if (number != NULL || *fd < 0) return number;
	fd_registry_close(registry, *fd);
	*fd = -ECANCELED;
	return NULL;
}

napi_value answer_outcome(napi_env env, struct fd_registry *registry, struct outcome *out)
{
	napi_value object = NULL;

	if (out->fd >= 0) {
		int fd = own(registry, out->fd);

		if (fd < 0) outcome_fail(out, fd, "own");
		out->fd = fd < 0 ? -1 : fd;
	}
	if (napi_create_object(env, &object) != napi_ok || !fill(env, object, out)) {
		object = NULL;
		if (out->fd >= 0) fd_registry_close(registry, out->fd);
		out->fd = -1;
	}
	for (int i = 0; i < OUTCOME_TEXTS; i++) free(out->texts[i]);
	free(out->bytes);
	return object;
}

static int is_brief(const struct outcome *out)
{
	for (int i = 0; i < OUTCOME_TEXTS; i++) {
		if (out->texts[i] != NULL) return 0;
	}
	return out->error == 0 && out->fd >= 0 && out->statuses[0] == 0 && out->statuses[1] == 0;
}

napi_value answer_brief(napi_env env, struct fd_registry *registry, struct outcome *out)
{
	/* An object with its properties takes longer than three of the system calls. */
	if (is_brief(out)) {
		napi_value number = answer_fd(env, registry, &out->fd);

		if (out->fd >= 0) return number;
		outcome_fail(out, out->fd, "own");
		out->fd = -1;
	}
	return answer_outcome(env, registry, out);
}

napi_value answer_maps(napi_env env, struct outcome *out)
{
	char *maps = out->texts[OUTCOME_MAPS];
	napi_value text;
	napi_status status = napi_create_string_latin1(env, maps, NAPI_AUTO_LENGTH, &text);

	free(maps);
	return status == napi_ok ? text : NULL;
}
