/* A namespace that exists as long as it is mounted on a file. */
#ifndef USERNS_PIN_H
#define USERNS_PIN_H

#include "kernel/outcome.h"

struct waiter;

/* Mounts the user namespace on the file of a descriptor. The outcome receives a descriptor of the mount. */
void namespace_pin(int ns, int file, struct waiter *waiter, struct outcome *out);

#endif
