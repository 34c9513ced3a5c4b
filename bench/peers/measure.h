/* Common to the peers in C: a clock, the order of times, one line of JSON. */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

__attribute__((noreturn)) static inline void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

/* Microseconds. */
static inline double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3;
}

static inline int compare(const void *a, const void *b)
{
	double x = *(const double *)a;
	double y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Microseconds of an action that do not count. */
static double not_counted;

/* Prints the quantiles of `rounds` times of `batch` calls each. The first 20 calls do not count. */
static inline void measure(void (*action)(void), int rounds, int batch)
{
	double *times = calloc((size_t)rounds, sizeof *times);
	double sum = 0;

	if (times == NULL) die("calloc");
	for (int i = 0; i < 20; i++) action();
	for (int i = 0; i < rounds; i++) {
		double start = now();

		not_counted = 0;
		for (int j = 0; j < batch; j++) action();
		times[i] = (now() - start - not_counted) / batch;
		sum += times[i];
	}
	qsort(times, (size_t)rounds, sizeof *times, compare);
	printf("{\"p50\":%.3f,\"p90\":%.3f,\"mean\":%.3f}\n", times[rounds / 2], times[rounds * 9 / 10], sum / rounds);
	free(times);
}

#endif
