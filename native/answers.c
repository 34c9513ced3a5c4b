#include "answers.h"
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

static int set_text(napi_env env, napi_value object, const char *name, const char *text)
{
	napi_value value;

	if (text == NULL) return 1;
	return napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &value) == napi_ok &&
	       napi_set_named_property(env, object, name, value) == napi_ok;
}

static int set_number(napi_env env, napi_value object, const char *name, double number)
{
	napi_value value = answer_number(env, number);

	return value != NULL && napi_set_named_property(env, object, name, value) == napi_ok;
}

static int set_bytes(napi_env env, napi_value object, const char *name, const void *bytes, size_t length)
{
	napi_value buffer;
	void *data;

	if (bytes == NULL) return 1;
	if (napi_create_arraybuffer(env, length, &data, &buffer) != napi_ok) return 0;
	memcpy(data, bytes, length);
	return napi_set_named_property(env, object, name, buffer) == napi_ok;
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
	       set_number(env, object, "uniqueId", (double)out->unique) &&
	       set_text(env, object, "maps", out->texts[OUTCOME_MAPS]) &&
	       set_text(env, object, "uidSaid", out->texts[OUTCOME_SAID]) &&
	       set_text(env, object, "gidSaid", out->texts[OUTCOME_SAID + 1]) &&
	       set_text(env, object, "log", out->texts[OUTCOME_LOG]) &&
	       set_bytes(env, object, "bytes", out->bytes, out->length) &&
	       set_text(env, object, "name", out->texts[OUTCOME_NAME]) &&
	       set_status(env, object, "uidStatus", out->statuses[0]) && set_status(env, object, "gidStatus", out->statuses[1]);
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

napi_value answer_fd(napi_env env, struct owned *owned, int *fd)
{
	napi_value number;

	if (*fd >= 0) *fd = own(owned, *fd);
	number = answer_number(env, *fd);
	if (number != NULL || *fd < 0) return number;
	owned_close(owned, *fd);
	*fd = -ECANCELED;
	return NULL;
}

napi_value answer_outcome(napi_env env, struct owned *owned, struct outcome *out)
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

napi_value answer_brief(napi_env env, struct owned *owned, struct outcome *out)
{
	/* An object with its properties takes longer than three of the system calls. */
	if (is_brief(out)) {
		napi_value number = answer_fd(env, owned, &out->fd);

		if (out->fd >= 0) return number;
		outcome_fail(out, out->fd, "own");
		out->fd = -1;
	}
	return answer_outcome(env, owned, out);
}

napi_value answer_maps(napi_env env, struct outcome *out)
{
	char *maps = out->texts[OUTCOME_MAPS];
	napi_value text;
	napi_status status = napi_create_string_latin1(env, maps, NAPI_AUTO_LENGTH, &text);

	free(maps);
	return status == napi_ok ? text : NULL;
}
