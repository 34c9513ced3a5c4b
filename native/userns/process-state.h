/*
 * State of the whole process. Each loaded copy of this package (two versions in node_modules, or one in a bundle and one
 * beside it) has its own static variables; this memory is shared by all copies and all threads.
 */
#ifndef USERNS_PROCESS_STATE_H
#define USERNS_PROCESS_STATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

/* Copies of different versions share this structure: a later version may only add fields at the end. */
struct process_state {
	_Atomic uint32_t magic;
	uint32_t guards; /* the number of trace_guard_begin() calls without a trace_guard_end() yet */
	uint32_t owed;   /* 1: prctl(2) failed to make the process dumpable again */
	uint32_t unused;
	union {
		pthread_mutex_t mutex; /* all zero is PTHREAD_MUTEX_INITIALIZER, in glibc and in musl */
		char room[64];         /* the mutex of either library fits, on every processor */
	} lock;
};

/*
 * The state, in memory that is never unmapped. NULL if the page is not available; then the state of the other copies is
 * unknown.
 */
struct process_state *process_state(void);

#endif
