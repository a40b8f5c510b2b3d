/* LZMA decompression (Igor Pavlov's "LZMA specification", draft of 2015). Pure. */
#ifndef LZMA_H
#define LZMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    LZMA_LITERAL_BITS_MAX = 4, /* lc + lp */
    LZMA_POSITION_BITS_MAX = 4, /* pb */
    LZMA_STATES = 12,
    LZMA_POSITIONS = 1 << LZMA_POSITION_BITS_MAX,
    LZMA_LENGTH_CLASSES = 4,
};

typedef uint16_t lzma_probability; /* that the next bit is 0, in 1/2048 */

struct lzma_lengths {
    lzma_probability is_long, is_longest;
    lzma_probability brief[LZMA_POSITIONS][8];
    lzma_probability middle[LZMA_POSITIONS][8];
    lzma_probability longest[256];
};

/* The decoder's memory, 28 KiB: too much for some stacks, so the caller provides it. */
struct lzma {
    lzma_probability is_match[LZMA_STATES][LZMA_POSITIONS];
    lzma_probability is_repeat[LZMA_STATES];
    lzma_probability is_repeat_1_to_3[LZMA_STATES];
    lzma_probability is_repeat_2_or_3[LZMA_STATES];
    lzma_probability is_repeat_3[LZMA_STATES];
    lzma_probability is_repeat_0_long[LZMA_STATES][LZMA_POSITIONS];
    lzma_probability slot[LZMA_LENGTH_CLASSES][64];
    lzma_probability distance[128];
    lzma_probability align[16];
    struct lzma_lengths match, repeat;
    lzma_probability literal[0x300 << LZMA_LITERAL_BITS_MAX];
};

/*
 * Decompress a raw LZMA stream; what follows it is not looked at. Never touches more than the three
 * buffers.
 *
 * @v model       memory to work in, whatever is in it
 * @v properties  the stream's properties: (pb * 5 + lp) * 9 + lc
 * @v in          the stream
 * @v in_size     its size in bytes
 * @v out         where the output goes; undefined on failure
 * @v out_size    the output's size, exactly
 * @ret           whether it came out; false if the stream is damaged or too short, or if
 *                `properties` ask for more literal contexts than LZMA_LITERAL_BITS_MAX allows
 */
bool lzma_decode(struct lzma *model, uint8_t properties, const uint8_t *in, size_t in_size,
                 uint8_t *out, size_t out_size);

#endif
