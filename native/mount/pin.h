/* A namespace that stays alive as long as it is mounted on a file. */
#ifndef USERNS_PIN_H
#define USERNS_PIN_H

#include "kernel/outcome.h"

struct waiter;

/*
 * Mounts the namespace on the file, a descriptor. The answer is a descriptor of the mount, and another one, which the caller
 * closes, is returned: -1 after an error.
 */
int namespace_pin(int ns, int file, struct waiter *waiter, struct outcome *out);

#endif
