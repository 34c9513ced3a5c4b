#include "addon/read-methods.h"
#include "addon/method.h"
#include "mount/mount-syscalls.h"
#include "addon/arguments.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define MOST_BYTES (1 << 24)
#define MOST_IDS (1 << 16)

/* A seq_file returns about a page for each read(2), so one piece takes several. */
static void run_read_piece(struct job *job)
{
	size_t most = job->request.piece;
	size_t length = 0;
	ssize_t got;
	char *bytes;

	if (job->out.error < 0) return; /* there was no descriptor free */
	bytes = malloc(most);
	if (bytes == NULL) {
		outcome_fail(&job->out, -ENOMEM, "read mounts");
		return;
	}
	do {
		got = read(job->fd, bytes + length, most - length);
		if (got > 0) length += (size_t)got;
	} while (length < most && (got > 0 || (got < 0 && errno == EINTR)));
	if (got < 0) outcome_fail(&job->out, -errno, "read mounts");
	if (got < 0 || length == 0) {
		free(bytes);
		return;
	}
	job->out.bytes = bytes;
	job->out.length = length;
}

/*
 * readPiece(fd, bytes, later): an outcome with the next `bytes`, with fewer of them at the end of the file, and with none
 * after it
 */
napi_value read_piece(napi_env env, napi_callback_info info)
{
	napi_value arguments[3];
	struct fd_registry *registry;
	struct job *job;
	double most;
	int later;
	int fd;

	if (!value_arguments(env, info, 3, arguments, &registry) || !value_fd(env, arguments[0], &fd) ||
	    !value_integer(env, arguments[1], 1, MOST_BYTES, &most) || !value_flag(env, arguments[2], &later)) {
		return NULL;
	}
	job = job_new(env, registry, run_read_piece);
	if (job == NULL) return NULL;
	/* Reads from a duplicate: a number that is closed meanwhile could become another file's, whose bytes would be lost. */
	job->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (job->fd < 0) outcome_fail(&job->out, -errno, "duplicate");
	job->request.piece = (size_t)most;
	return job_start(env, job, later);
}

static void answer_bytes(struct job *job, void *bytes, long got, const char *step)
{
	if (bytes == NULL) got = -ENOMEM;
	if (got < 0) {
		free(bytes);
		outcome_fail(&job->out, (int)got, step);
		return;
	}
	job->out.bytes = bytes;
	job->out.length = job->request.ask.size;
}

static void run_statmount(struct job *job)
{
	void *bytes = calloc(1, job->request.ask.size + 1); /* calloc(0) may return NULL */
	long got = 0;

	if (bytes != NULL) {
		got = call_statmount(job->request.ask.id, job->request.ask.ns, job->request.ask.param, bytes, job->request.ask.size);
	}
	answer_bytes(job, bytes, got, "statmount");
}

static void run_listmount(struct job *job)
{
	const size_t most = job->request.ask.size / sizeof(uint64_t);
	uint64_t *ids = calloc(most, sizeof *ids);
	long got = 0;

	if (ids != NULL) got = call_listmount(job->request.ask.id, job->request.ask.ns, job->request.ask.param, ids, most);
	if (got >= 0) job->request.ask.size = (size_t)got * sizeof *ids;
	answer_bytes(job, ids, got, "listmount");
}

/* Reads the arguments: three bigints, a size and `later`. */
static napi_value start_ask(napi_env env, napi_callback_info info, void (*run)(struct job *job), double least, double most,
			    size_t unit)
{
	napi_value arguments[5];
	uint64_t numbers[3];
	struct fd_registry *registry;
	struct job *job;
	double size;
	int later;

	if (!value_arguments(env, info, 5, arguments, &registry)) return NULL;
	for (int i = 0; i < 3; i++) {
		if (!value_big(env, arguments[i], &numbers[i])) return NULL;
	}
	if (!value_integer(env, arguments[3], least, most, &size) || !value_flag(env, arguments[4], &later)) return NULL;
	job = job_new(env, registry, run);
	if (job == NULL) return NULL;
	job->request.ask.id = numbers[0];
	job->request.ask.ns = numbers[1];
	job->request.ask.param = numbers[2];
	job->request.ask.size = (size_t)size * unit;
	return job_start(env, job, later);
}

/* statmount(unique ID, mount namespace ID or 0, mask, bytes, later): an outcome whose `bytes` the kernel wrote */
napi_value read_statmount(napi_env env, napi_callback_info info)
{
	return start_ask(env, info, run_statmount, 0, MOST_BYTES, 1);
}

/* listmount(unique ID, mount namespace ID or 0, last ID, most, later): an outcome whose `bytes` are IDs of 64 bits each */
napi_value read_listmount(napi_env env, napi_callback_info info)
{
	return start_ask(env, info, run_listmount, 1, MOST_IDS, sizeof(uint64_t));
}
