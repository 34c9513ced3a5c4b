/*
 * Creating several namespaces at once needs more descriptors and processes than creating one. A creation that runs short of them
 * is repeated at a moment when no thread of this process creates a batch.
 */
#ifndef USERNS_BATCH_GATE_H
#define USERNS_BATCH_GATE_H

/* Call this before a batch. Returns 0 if a thread must be alone: then the caller creates one after the other. */
int batch_gate_begin(void);

void batch_gate_end(void);

/* Returns the number of batches that have ended, for batch_gate_since(). */
unsigned batch_gate_ended(void);

/* Returns 1 if a batch was in progress then, or has begun since. */
int batch_gate_since(unsigned then);

/* Waits until no batch is in progress, which takes milliseconds, and prevents new ones. */
void alone_begin(void);

void alone_end(void);

#endif
