#include "addon/arguments.h"
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

int value_arguments(napi_env env, napi_callback_info info, size_t count, napi_value *arguments, struct fd_registry **registry)
{
	*registry = value_arguments_for(env, info, count, arguments);
	return *registry != NULL;
}
