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
 * Decompress a raw LZMA stream to exactly `out_size` bytes; what follows them in the stream is
 * not looked at. False if the stream is damaged or too short, or if `properties` ask for more
 * literal contexts than we have room for. Never touches more than the two buffers.
 */
bool lzma_decode(struct lzma *model, uint8_t properties, const uint8_t *in, size_t in_size,
                 uint8_t *out, size_t out_size);

#endif
