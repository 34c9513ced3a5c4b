/* Mounts at their place: attached, or exchanged for what is there, in this or another mount namespace. */
#ifndef USERNS_ATTACH_H
#define USERNS_ATTACH_H

#include "attach-steps.h"

/*
 * Nothing is attached when it fails, but when a mount that it takes the place of cannot be taken off: then it lies
 * beneath that one; or when the propagation cannot be set again afterwards: then it is in that one's place. The target is a
 * place in the other namespace when there is one.
 */
void mount_attach(const struct attach_request *request, struct outcome *out);

#endif
