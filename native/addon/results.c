#include "addon/results.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void result_init(struct result *result)
{
	result->out.fd = -1;
	result->undo.fd = -1;
	result->undo.mount_ns = -1;
}

static napi_value number_value(napi_env env, double number)
{
	napi_value value;

	return napi_create_double(env, number, &value) == napi_ok ? value : NULL;
}

static napi_value bigint_value(napi_env env, uint64_t number)
{
	napi_value value;

	return napi_create_bigint_uint64(env, number, &value) == napi_ok ? value : NULL;
}

/* Undefined for NULL. */
static napi_value text_value(napi_env env, const char *text)
{
	napi_value value = NULL;
	napi_status status =
		text == NULL ? napi_get_undefined(env, &value) : napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &value);

	return status == napi_ok ? value : NULL;
}

static napi_value maps_value(napi_env env, const struct outcome *out)
{
	napi_value value;

	return napi_create_string_latin1(env, out->texts[OUTCOME_MAPS], NAPI_AUTO_LENGTH, &value) == napi_ok ? value : NULL;
}

static napi_value bytes_value(napi_env env, const void *bytes, size_t length)
{
	napi_value buffer;
	void *data;

	if (bytes == NULL) return text_value(env, NULL);
	if (napi_create_arraybuffer(env, length, &data, &buffer) != napi_ok) return NULL;
	if (length > 0) memcpy(data, bytes, length); /* of no bytes, `data` can be NULL */
	return buffer;
}

static napi_value array_value(napi_env env, const napi_value *elements, uint32_t count)
{
	napi_value array;

	if (napi_create_array_with_length(env, count, &array) != napi_ok) return NULL;
	for (uint32_t i = 0; i < count; i++) {
		if (elements[i] == NULL || napi_set_element(env, array, i, elements[i]) != napi_ok) return NULL;
	}
	return array;
}

/*
 * Defines every property, also those without a value: a name that the object lacks would be looked up in Object.prototype,
 * which any code of the process can change, and setting one would call a setter there.
 */
static napi_value object_value(napi_env env, const struct outcome *out)
{
	const struct {
		const char *name;
		napi_value value;
	} members[] = {
		{"error", number_value(env, out->error)},
		{"step", text_value(env, out->step)},
		{"fd", number_value(env, out->fd)},
		{"mountId", number_value(env, (double)out->mount_id)},
		{"uniqueId", number_value(env, (double)out->unique)},
		{"maps", text_value(env, out->texts[OUTCOME_MAPS])},
		{"uidSaid", text_value(env, out->texts[OUTCOME_SAID])},
		{"gidSaid", text_value(env, out->texts[OUTCOME_SAID + 1])},
		{"log", text_value(env, out->texts[OUTCOME_LOG])},
		{"bytes", bytes_value(env, out->bytes, out->length)},
		{"name", text_value(env, out->texts[OUTCOME_NAME])},
		{"uidStatus", number_value(env, out->statuses[0])},
		{"gidStatus", number_value(env, out->statuses[1])},
	};
	enum { COUNT = sizeof members / sizeof members[0] };
	napi_property_descriptor properties[COUNT];
	napi_value object;

	for (int i = 0; i < COUNT; i++) {
		if (members[i].value == NULL) return NULL;
		properties[i] = (napi_property_descriptor){
			.utf8name = members[i].name,
			.value = members[i].value,
			.attributes = napi_default_jsproperty,
		};
	}
	if (napi_create_object(env, &object) != napi_ok) return NULL;
	return napi_define_properties(env, object, COUNT, properties) == napi_ok ? object : NULL;
}

static int is_brief(const struct outcome *out)
{
	for (int i = 0; i < OUTCOME_TEXTS; i++) {
		if (out->texts[i] != NULL) return 0;
	}
	return out->error == 0 && out->fd >= 0 && out->statuses[0] == 0 && out->statuses[1] == 0;
}

static napi_value error_value(napi_env env, enum result_kind kind, const struct outcome *out)
{
	switch (kind) {
	case RESULT_FD:
	case RESULT_NUMBER:
	case RESULT_BIGINT:
	case RESULT_BIGINTS: return number_value(env, out->error);
	default: return object_value(env, out);
	}
}

/* Avoids an object where it can: making one with its properties takes longer than three system calls. */
static napi_value convert(napi_env env, enum result_kind kind, const struct result *result)
{
	const struct outcome *out = &result->out;
	napi_value values[RESULT_NUMBERS];

	if (out->error < 0) return error_value(env, kind, out);
	switch (kind) {
	case RESULT_BRIEF: return is_brief(out) ? number_value(env, out->fd) : object_value(env, out);
	case RESULT_FD: return number_value(env, out->fd);
	case RESULT_NUMBER: return number_value(env, (double)result->numbers[0]);
	case RESULT_BIGINT: return bigint_value(env, result->numbers[0]);
	case RESULT_BIGINTS:
		for (int i = 0; i < RESULT_NUMBERS; i++) values[i] = bigint_value(env, result->numbers[i]);
		return array_value(env, values, RESULT_NUMBERS);
	case RESULT_MAPS: return maps_value(env, out);
	case RESULT_FD_AND_MAPS:
		values[0] = number_value(env, out->fd);
		values[1] = maps_value(env, out);
		return array_value(env, values, 2);
	default: return object_value(env, out);
	}
}

/*
 * Registers the descriptor. Its number must be above 2: a process that has closed its standard input, output or error gets
 * these numbers for what it opens next, and a program that inherits them would have a namespace as its output.
 */
static void register_fd(struct fd_registry *registry, struct result *result)
{
	struct outcome *out = &result->out;
	int fd = out->fd > 2 ? out->fd : fcntl(out->fd, F_DUPFD_CLOEXEC, 3);
	int error = fd < 0 ? -errno : fd_registry_add(registry, fd);

	if (error < 0) {
		result_undo(result); /* before the descriptor, by which the mount is found, is closed */
		if (fd > 2 && fd != out->fd) close(fd);
		outcome_fail(out, error, "own");
	}
	if (error < 0 || fd != out->fd) close(out->fd);
	out->fd = error < 0 ? -1 : fd;
}

static void free_texts(struct outcome *out)
{
	for (int i = 0; i < OUTCOME_TEXTS; i++) free(out->texts[i]);
	free(out->bytes);
}

napi_value result_make(napi_env env, struct fd_registry *registry, enum result_kind kind, struct result *result)
{
	struct outcome *out = &result->out;
	napi_value value;

	if (out->fd >= 0) register_fd(registry, result);
	if (result->undo.run != NULL) {
		if (result->undo.fd < 0) result->undo.fd = out->fd;
		fd_registry_unacknowledged(registry, &result->undo);
	}
	value = convert(env, kind, result);
	if (value == NULL) {
		if (result->undo.run != NULL) fd_registry_acknowledge(registry, result->undo.fd);
		result_undo(result);
		if (out->fd >= 0) fd_registry_close(registry, out->fd);
		out->fd = -1;
	}
	free_texts(out);
	return value;
}

void result_undo(struct result *result)
{
	struct undo *undo = &result->undo;

	if (undo->run != NULL) {
		if (undo->fd < 0) undo->fd = result->out.fd;
		undo->run(undo);
	} else if (result->out.left) {
		result_report_left(result->out.error);
	}
	undo->run = NULL;
	result->out.left = 0;
}

void result_drop(struct result *result)
{
	result_undo(result);
	if (result->out.fd >= 0) close(result->out.fd);
	free_texts(&result->out);
}

void result_report_left(int error)
{
	dprintf(STDERR_FILENO, "userns: a mount of a thread that ended could not be unmounted: it stays, or appears later (errno %d)\n",
		-error);
}
