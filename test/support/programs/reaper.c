/*
 * A library for LD_PRELOAD that reaps every child of the process in a separate thread, as a faulty add-on does:
 * waitpid(-1, …, __WALL). At the end it prints on standard error how many it reaped.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile int reaped;

static void *reap(void *unused)
{
	(void)unused;
	for (;;) {
		if (waitpid(-1, NULL, __WALL) > 0) reaped++;
		else if (errno == ECHILD) usleep(20);
	}
	return NULL;
}

__attribute__((constructor)) static void begin(void)
{
	pthread_t thread;

	pthread_create(&thread, NULL, reap, NULL);
}

__attribute__((destructor)) static void report(void)
{
	fprintf(stderr, "reaper: %d\n", reaped);
}
