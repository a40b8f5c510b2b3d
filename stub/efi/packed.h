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

/*
 * Tell how much room a packed program needs.
 *
 * @v packed  the packed program
 * @v size    its size in bytes
 * @ret       the program's size in bytes; 0 if `packed` is no packed program, or not all of one
 */
size_t packed_program_size(const uint8_t *packed, size_t size);

/*
 * Unpack a program.
 *
 * @v model    memory to work in, whatever is in it
 * @v packed   the packed program
 * @v size     its size in bytes
 * @v program  where it goes, with room for packed_program_size() bytes; undefined on failure
 * @ret        whether the program came out as it was packed
 */
bool packed_unpack(struct lzma *model, const uint8_t *packed, size_t size, uint8_t *program);

#endif
