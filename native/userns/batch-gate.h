/*
 * Making several processes at once takes more descriptors and processes than making one. Who runs short of them tries once
 * more at a moment when no thread of this process makes several.
 */
#ifndef USERNS_BATCH_GATE_H
#define USERNS_BATCH_GATE_H

/* Before making several. 0: somebody needs to be alone, so one after the other. */
int batch_gate_begin(void);

void batch_gate_end(void);

/* How often it was ended, for batch_gate_since(): whether somebody has made several since then, or was just about it. */
unsigned batch_gate_ended(void);

int batch_gate_since(unsigned then);

/* Waits until nobody makes several, which takes milliseconds, and keeps everybody from it. */
void alone_begin(void);

void alone_end(void);

#endif
