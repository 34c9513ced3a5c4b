/* A library to preload: maps a page at ADDRESS with the protection PROTECTION, as another program's code may have done. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/mman.h>

__attribute__((constructor)) static void occupy(void)
{
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;

	if (mmap((void *)ADDRESS, 4096, PROTECTION, flags, -1, 0) != (void *)ADDRESS) abort();
}
