/* The filter that makes x86 machine code compress better, undone. Pure. */
#ifndef FILTER_H
#define FILTER_H

#include <stddef.h>
#include <stdint.h>

/*
 * Code names its targets by their distance, so that every use of one target looks different.
 * bootserver/stub/pack.py has put the target's place in the image instead into calls, jumps and
 * RIP-relative moves; this puts the distances back.
 */
void filter_undo(uint8_t *image, size_t size);

#endif
