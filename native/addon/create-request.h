/* A creation that JavaScript has asked for, and those that wait to be made on another thread. */
#ifndef USERNS_CREATE_REQUEST_H
#define USERNS_CREATE_REQUEST_H

#include "userns/create.h"
#include "addon/worker-pool.h"
#include <pthread.h>

struct creations;

struct creation {
	struct worker_pool_task load; /* the first member: of the first of some that were made in one go */
	struct create_request request;
	struct outcome out;
	char *maps[2];  /* malloc'ed; the second is NULL where both kinds have the same */
	char **helpers; /* malloc'ed: both programs, an empty text for one that is not to be called, and the words for each; or nothing */
	double token;   /* by which the caller knows it again */
	struct creations *creations; /* whose it is; set for the crew */
	struct creation *next;
};

void creation_free(struct creation *creation);

/* Of one that was made, or not, and that nobody hears of. */
void creation_forget(struct creation *creation);

/* Filled by one thread, and emptied by any, from its beginning. */
struct create_list {
	pthread_mutex_t lock;
	struct creation *first;
	struct creation **end;
};

void creation_list_init(struct create_list *list);
void creation_list_destroy(struct create_list *list);

void creation_list_put(struct create_list *list, struct creation *creation);

/* NULL: nothing waits. */
struct creation *creation_list_take(struct create_list *list);

/* Takes and makes what waits, up to sixteen, in the order in which they came. Answers the first of them, or NULL. */
struct creation *creation_list_make(struct create_list *list);

/* Takes and forgets what waits. */
void creation_list_forget(struct create_list *list);

#endif
