/*
 * Making several processes at once takes more descriptors and processes than making one. Who runs short of them tries once
 * more at a moment when no thread of this process makes several.
 */
#ifndef USERNS_BATCH_GATE_H
#define USERNS_BATCH_GATE_H

/* Before making several. 0: somebody needs to be alone, so one after the other. */
int several_begin(void);

void several_end(void);

/* How often it was ended, for several_since(): whether somebody has made several since then, or was just about it. */
unsigned several_ended(void);

int several_since(unsigned then);

/* Waits until nobody makes several, which takes milliseconds, and keeps everybody from it. */
void alone_begin(void);

void alone_end(void);

#endif
