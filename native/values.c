#include "values.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int value_integer(napi_env env, napi_value value, double least, double most, double *number)
{
	if (napi_get_value_double(env, value, number) != napi_ok) {
		napi_throw_type_error(env, NULL, "userns native: a number was expected");
		return 0;
	}
	/* Written so that NaN fails; the bounds are those of the type that follows, so a cast afterwards is defined. */
	if (!(*number >= least && *number <= most) || *number != (double)(int64_t)*number) {
		napi_throw_range_error(env, NULL, "userns native: a whole number within bounds was expected");
		return 0;
	}
	return 1;
}

int value_fd(napi_env env, napi_value value, int *fd)
{
	double number;

	if (!value_integer(env, value, 0, INT_MAX, &number)) return 0;
	*fd = (int)number;
	return 1;
}

int value_flag(napi_env env, napi_value value, int *flag)
{
	bool is;

	if (napi_get_value_bool(env, value, &is) != napi_ok) {
		napi_throw_type_error(env, NULL, "userns native: a boolean was expected");
		return 0;
	}
	*flag = is;
	return 1;
}

/* Most texts are short: one call instead of one for the length and one for the text. */
#define SHORT_BYTES 128

static char *out_of_memory(napi_env env)
{
	napi_throw_error(env, NULL, "userns native: out of memory");
	return NULL;
}

static char *long_text(napi_env env, napi_value value, size_t *length, size_t most)
{
	char *text;

	if (napi_get_value_string_utf8(env, value, NULL, 0, length) != napi_ok) return NULL;
	if (*length > most) {
		napi_throw_range_error(env, NULL, "userns native: the string is too long");
		return NULL;
	}
	text = malloc(*length + 1);
	if (text == NULL) return out_of_memory(env);
	napi_get_value_string_utf8(env, value, text, *length + 1, length);
	return text;
}

char *value_text(napi_env env, napi_value value, size_t most)
{
	char buffer[SHORT_BYTES];
	size_t length = 0;
	char *text;

	if (napi_get_value_string_utf8(env, value, buffer, sizeof buffer, &length) != napi_ok) {
		napi_throw_type_error(env, NULL, "userns native: a string was expected");
		return NULL;
	}
	/* Cut between two characters, which take at most four bytes: what is shorter than that was not cut. */
	if (length < sizeof buffer - 4 && length <= most) {
		text = malloc(length + 1);
		if (text == NULL) return out_of_memory(env);
		memcpy(text, buffer, length + 1);
	} else {
		text = long_text(env, value, &length, most);
		if (text == NULL) return NULL;
	}
	if (strlen(text) == length) return text;
	free(text);
	napi_throw_type_error(env, NULL, "userns native: a string without NUL was expected");
	return NULL;
}

int value_path(napi_env env, napi_value value, char path[VALUE_PATH])
{
	size_t length;

	if (napi_get_value_string_utf8(env, value, path, VALUE_PATH, &length) != napi_ok) {
		napi_throw_type_error(env, NULL, "userns native: a string was expected");
		return 0;
	}
	if (length > PATH_MAX) {
		napi_throw_range_error(env, NULL, "userns native: the string is too long");
		return 0;
	}
	if (strlen(path) == length) return 1;
	napi_throw_type_error(env, NULL, "userns native: a string without NUL was expected");
	return 0;
}

int value_optional_text(napi_env env, napi_value value, size_t most, char **text)
{
	napi_valuetype type;

	if (napi_typeof(env, value, &type) == napi_ok && type == napi_null) return 1;
	*text = value_text(env, value, most);
	return *text != NULL;
}

/* More than execve(2) takes arguments, and than there can be mounts. */
#define MOST_ELEMENTS (1 << 24)

/* The length of an array, which a single assignment in JavaScript can make 2^32 − 1: memory is taken for it. */
static int value_length(napi_env env, napi_value value, uint32_t *length)
{
	if (napi_get_array_length(env, value, length) != napi_ok) {
		napi_throw_type_error(env, NULL, "userns native: an array was expected");
		return 0;
	}
	if (*length <= MOST_ELEMENTS) return 1;
	napi_throw_range_error(env, NULL, "userns native: the array is too long");
	return 0;
}

int value_fds(napi_env env, napi_value value, int **fds, uint32_t *count)
{
	int *list;

	if (!value_length(env, value, count)) return 0;
	list = calloc((size_t)*count + 1, sizeof *list);
	if (list == NULL) {
		napi_throw_error(env, NULL, "userns native: out of memory");
		return 0;
	}
	for (uint32_t i = 0; i < *count; i++) {
		napi_value element;

		if (napi_get_element(env, value, i, &element) == napi_ok && value_fd(env, element, &list[i])) continue;
		free(list);
		return 0;
	}
	*fds = list;
	return 1;
}

int value_big(napi_env env, napi_value value, uint64_t *number)
{
	bool lossless = false;

	if (napi_get_value_bigint_uint64(env, value, number, &lossless) == napi_ok && lossless) return 1;
	napi_throw_type_error(env, NULL, "userns native: a bigint of 64 bits was expected");
	return 0;
}

napi_value value_bigs(napi_env env, const uint64_t *numbers, uint32_t count)
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

void value_free_texts(char **texts)
{
	if (texts == NULL) return;
	for (char **text = texts; *text != NULL; text++) free(*text);
	free(texts);
}

char **value_texts(napi_env env, napi_value value, size_t most)
{
	uint32_t length = 0;
	char **texts;

	if (!value_length(env, value, &length)) return NULL;
	texts = calloc((size_t)length + 1, sizeof *texts);
	if (texts == NULL) {
		napi_throw_error(env, NULL, "userns native: out of memory");
		return NULL;
	}
	for (uint32_t i = 0; i < length; i++) {
		napi_value element;

		if (napi_get_element(env, value, i, &element) == napi_ok) texts[i] = value_text(env, element, most);
		if (texts[i] == NULL) {
			value_free_texts(texts);
			return NULL;
		}
	}
	return texts;
}

void *value_arguments_for(napi_env env, napi_callback_info info, size_t count, napi_value *arguments)
{
	size_t given = count;
	void *data = NULL;

	if (napi_get_cb_info(env, info, &given, arguments, NULL, &data) == napi_ok && given >= count) return data;
	napi_throw_type_error(env, NULL, "userns native: too few arguments");
	return NULL;
}

int value_arguments(napi_env env, napi_callback_info info, size_t count, napi_value *arguments, struct owned **owned)
{
	*owned = value_arguments_for(env, info, count, arguments);
	return *owned != NULL;
}

napi_value value_number(napi_env env, double number)
{
	napi_value value;

	return napi_create_double(env, number, &value) == napi_ok ? value : NULL;
}

static int set_text(napi_env env, napi_value object, const char *name, const char *text)
{
	napi_value value;

	if (text == NULL) return 1;
	return napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &value) == napi_ok &&
	       napi_set_named_property(env, object, name, value) == napi_ok;
}

static int set_number(napi_env env, napi_value object, const char *name, double number)
{
	napi_value value = value_number(env, number);

	return value != NULL && napi_set_named_property(env, object, name, value) == napi_ok;
}

/* Rarely there is something to tell, and each property of each answer takes its time. */
static int set_status(napi_env env, napi_value object, const char *name, int status)
{
	return status == 0 || set_number(env, object, name, status);
}

static int fill(napi_env env, napi_value object, const struct outcome *out)
{
	return set_number(env, object, "error", out->error) && set_text(env, object, "step", out->step) &&
	       set_number(env, object, "fd", out->fd) && set_number(env, object, "mountId", (double)out->mount_id) &&
	       set_text(env, object, "maps", out->texts[OUTCOME_MAPS]) &&
	       set_text(env, object, "uidSaid", out->texts[OUTCOME_SAID]) &&
	       set_text(env, object, "gidSaid", out->texts[OUTCOME_SAID + 1]) &&
	       set_text(env, object, "log", out->texts[OUTCOME_LOG]) && set_status(env, object, "uidStatus", out->statuses[0]) &&
	       set_status(env, object, "gidStatus", out->statuses[1]);
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
static int own(struct owned *owned, int fd)
{
	int error;

	fd = above_standard(fd);
	error = fd < 0 ? fd : owned_add(owned, fd);
	return error < 0 ? error : fd;
}

napi_value value_new_fd(napi_env env, struct owned *owned, int *fd)
{
	napi_value number;

	if (*fd >= 0) *fd = own(owned, *fd);
	number = value_number(env, *fd);
	if (number != NULL || *fd < 0) return number;
	owned_close(owned, *fd);
	*fd = -ECANCELED;
	return NULL;
}

napi_value value_outcome(napi_env env, struct owned *owned, struct outcome *out)
{
	napi_value object = NULL;

	if (out->fd >= 0) {
		int fd = own(owned, out->fd);

		if (fd < 0) outcome_fail(out, fd, "own");
		out->fd = fd < 0 ? -1 : fd;
	}
	if (napi_create_object(env, &object) != napi_ok || !fill(env, object, out)) {
		object = NULL;
		if (out->fd >= 0) owned_close(owned, out->fd);
		out->fd = -1;
	}
	for (int i = 0; i < OUTCOME_TEXTS; i++) free(out->texts[i]);
	return object;
}

napi_value value_maps(napi_env env, struct outcome *out)
{
	char *maps = out->texts[OUTCOME_MAPS];
	napi_value text;
	napi_status status = napi_create_string_latin1(env, maps, NAPI_AUTO_LENGTH, &text);

	free(maps);
	return status == napi_ok ? text : NULL;
}
