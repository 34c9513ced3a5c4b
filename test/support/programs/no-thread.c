/*
 * A library to preload (ld.so(8)): no thread with a stack of NO_THREAD bytes can start, as at the limit of processes.
 * The threads of Node and libuv have other stacks, and start.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *), void *argument)
{
	int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) = dlsym(RTLD_NEXT, "pthread_create");
	const char *refused = getenv("NO_THREAD");
	size_t size = 0;

	if (attributes != NULL) pthread_attr_getstacksize(attributes, &size);
	if (refused != NULL && size == strtoul(refused, NULL, 10)) return EAGAIN;
	return real(thread, attributes, body, argument);
}
