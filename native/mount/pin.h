/* A namespace that stays alive as long as it is mounted on a file. */
#ifndef USERNS_PIN_H
#define USERNS_PIN_H

#include "kernel/outcome.h"

struct waiter;

/* Mounts the namespace on the file, a descriptor. `out` receives a descriptor of the mount. */
void namespace_pin(int ns, int file, struct waiter *waiter, struct outcome *out);

#endif
