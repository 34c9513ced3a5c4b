#include "read-piece.h"
#include "job.h"
#include "values.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define MOST_BYTES (1 << 24)

/* A seq_file answers about a page to each read(2), so that one piece takes several. */
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

/* readPiece(fd, bytes, later): an outcome with the `bytes` that come next, fewer than that at the end, none behind it */
napi_value read_piece(napi_env env, napi_callback_info info)
{
	napi_value arguments[3];
	struct owned *owned;
	struct job *job;
	double most;
	int later;
	int fd;

	if (!value_arguments(env, info, 3, arguments, &owned) || !value_fd(env, arguments[0], &fd) ||
	    !value_integer(env, arguments[1], 1, MOST_BYTES, &most) || !value_flag(env, arguments[2], &later)) {
		return NULL;
	}
	job = job_new(env, owned, run_read_piece);
	if (job == NULL) return NULL;
	/* A duplicate of its own: a number that is closed meanwhile could be another file's, whose bytes would be lost. */
	job->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (job->fd < 0) outcome_fail(&job->out, -errno, "duplicate");
	job->request.piece = (size_t)most;
	return job_start(env, job, later);
}
