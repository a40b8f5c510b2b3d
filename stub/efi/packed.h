/* Packed programs, as bootserver/stub/pack.py makes them. Pure. */
#ifndef PACKED_H
#define PACKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lzma.h"

/*
 * | offset | size | meaning, little-endian                          |
 * |--------|------|-------------------------------------------------|
 * | 0      | 4    | "BSP1"                                          |
 * | 4      | 4    | size of the program                             |
 * | 8      | 4    | size of the LZMA stream                         |
 * | 12     | 4    | CRC-32 of the program                           |
 * | 16     | 1    | the stream's properties: (pb * 5 + lp) * 9 + lc |
 * | 17     | 3    | 0                                               |
 * | 20     |      | the LZMA stream of the filtered program         |
 */
enum { PACKED_HEADER_SIZE = 20, PROGRAM_SIZE_MAX = 64 << 20 };

/* The size of the program in `packed`; 0 if that is no packed program or not all of one. */
size_t packed_program_size(const uint8_t *packed, size_t size);

/*
 * Unpack to `program`, which has the room that packed_program_size() said. False if it did not
 * come out as it was packed.
 */
bool packed_unpack(struct lzma *model, const uint8_t *packed, size_t size, uint8_t *program);

#endif
