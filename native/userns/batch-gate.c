#include "userns/batch-gate.h"
#include <pthread.h>
#include <stdatomic.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t no_batch = PTHREAD_COND_INITIALIZER;
static int alone; /* the threads between alone_begin() and alone_end() */
/* Written with the lock, read without it. */
static atomic_uint begun;
static atomic_uint ended;

int batch_gate_begin(void)
{
	int may;

	pthread_mutex_lock(&lock);
	may = alone == 0;
	if (may) atomic_fetch_add(&begun, 1);
	pthread_mutex_unlock(&lock);
	return may;
}

void batch_gate_end(void)
{
	pthread_mutex_lock(&lock);
	atomic_fetch_add(&ended, 1);
	if (ended == begun) pthread_cond_broadcast(&no_batch);
	pthread_mutex_unlock(&lock);
}

unsigned batch_gate_ended(void)
{
	return atomic_load(&ended);
}

int batch_gate_since(unsigned then)
{
	return atomic_load(&begun) != then;
}

void alone_begin(void)
{
	pthread_mutex_lock(&lock);
	alone++;
	while (ended != begun) pthread_cond_wait(&no_batch, &lock);
	pthread_mutex_unlock(&lock);
}

void alone_end(void)
{
	pthread_mutex_lock(&lock);
	alone--;
	pthread_mutex_unlock(&lock);
}
