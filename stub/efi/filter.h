/* The filter that makes x86 machine code compress better, undone. Pure. */
#ifndef FILTER_H
#define FILTER_H

#include <stddef.h>
#include <stdint.h>

/*
 * Put the distances back into machine code.
 *
 * Code names its targets by their distance, so that every use of one target looks different.
 * bootserver/stub/pack.py has put the target's place in the image instead into calls, jumps and
 * RIP-relative moves.
 *
 * @v image  the program, which is changed in place
 * @v size   its size in bytes
 */
void filter_undo(uint8_t *image, size_t size);

#endif
