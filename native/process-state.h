/*
 * State of the whole process. Each copy of this package that is loaded (two versions in node_modules, or one in a bundle and one
 * beside it) has static variables of its own; this memory is the same for all copies and all threads.
 */
#ifndef USERNS_PROCESS_STATE_H
#define USERNS_PROCESS_STATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

/* Copies of different versions share this structure: a later version may add fields at the end, and must change nothing else. */
struct process_state {
	_Atomic uint32_t magic;
	uint32_t hiding; /* how many shelter_hide() have no shelter_show() yet */
	uint32_t owed;   /* 1: the process was dumpable, and prctl(2) failed to make it so again */
	uint32_t unused;
	union {
		pthread_mutex_t mutex; /* all zero is PTHREAD_MUTEX_INITIALIZER, in glibc and in musl */
		char room[64];         /* the mutex of either library fits, on every processor */
	} lock;
};

/* The state, in memory that is never unmapped; or NULL when it cannot be had: then no copy's state is known. */
struct process_state *process_state(void);

#endif
