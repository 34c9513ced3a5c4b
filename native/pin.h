/* User namespaces kept at a path. */
#ifndef USERNS_PIN_H
#define USERNS_PIN_H

#include "outcome.h"

/* Keeps a namespace alive by mounting it on a new, empty file at the path. */
void namespace_pin(int ns, const char *path, struct outcome *out);

#endif
