#include "lzma.h"

enum {
    PROBABILITY_BITS = 11,
    PROBABILITY_HALF = 1 << (PROBABILITY_BITS - 1),
    ADAPTATION_SHIFT = 5,
    MATCH_MIN = 2,
    SLOT_BITS = 6,
    SLOTS_WITH_MODEL = 14, /* the first slot whose distance has bits without a model */
    ALIGN_BITS = 4,
};

static const uint32_t RANGE_MIN = (uint32_t)1 << 24;
static const uint32_t END_MARK = 0xFFFFFFFF;

/* The range decoder, specification section "Range Decoder". */
struct bits {
    const uint8_t *next, *end;
    uint32_t range, code;
    bool ran_out;
};

/*
 * Take another byte from the stream when the range has become small.
 *
 * @v bits  the range decoder; `ran_out` is set where the stream has none left
 */
static void normalize(struct bits *bits)
{
    if (bits->range >= RANGE_MIN)
        return;
    bits->range <<= 8;
    bits->code <<= 8;
    if (bits->next < bits->end)
        bits->code |= *bits->next++;
    else
        bits->ran_out = true;
}

/*
 * Begin decoding a stream.
 *
 * @v bits     the range decoder to set up; undefined on failure
 * @v in       the stream, which is kept and read from later
 * @v in_size  its size in bytes
 * @ret        whether the stream begins as one must
 */
static bool begin(struct bits *bits, const uint8_t *in, size_t in_size)
{
    if (in_size < 5 || in[0] != 0)
        return false;
    *bits = (struct bits){in + 5, in + in_size, 0xFFFFFFFF, 0, false};
    for (int i = 1; i < 5; i++)
        bits->code = bits->code << 8 | in[i];
    return bits->code != bits->range;
}

/*
 * Decode a bit by its probability, and adapt that.
 *
 * @v bits         the range decoder
 * @v probability  that the bit is 0
 * @ret            the bit
 */
static uint32_t modelled_bit(struct bits *bits, lzma_probability *probability)
{
    normalize(bits);
    uint32_t bound = (bits->range >> PROBABILITY_BITS) * *probability;
    if (bits->code < bound) {
        bits->range = bound;
        *probability += (lzma_probability)(((1 << PROBABILITY_BITS) - *probability)
                                           >> ADAPTATION_SHIFT);
        return 0;
    }
    bits->range -= bound;
    bits->code -= bound;
    *probability -= (lzma_probability)(*probability >> ADAPTATION_SHIFT);
    return 1;
}

/*
 * Decode bits that have no model, the highest first.
 *
 * @v bits   the range decoder
 * @v count  how many, at most 32
 * @ret      the number that they are
 */
static uint32_t plain_bits(struct bits *bits, unsigned count)
{
    uint32_t value = 0;

    while (count--) {
        normalize(bits);
        bits->range >>= 1;
        uint32_t bit = bits->code >= bits->range;
        if (bit)
            bits->code -= bits->range;
        value = value << 1 | bit;
    }
    return value;
}

/*
 * Decode bits, the highest first, each with a model of its own for the bits before it.
 *
 * @v bits    the range decoder
 * @v models  2^count models, of which the first is not used
 * @v count   how many bits
 * @ret       the number that they are
 */
static uint32_t tree(struct bits *bits, lzma_probability *models, unsigned count)
{
    uint32_t node = 1;

    for (unsigned i = 0; i < count; i++)
        node = node << 1 | modelled_bit(bits, &models[node]);
    return node - ((uint32_t)1 << count);
}

/*
 * Decode bits, the lowest first, each with a model of its own for the bits before it.
 *
 * @v bits    the range decoder
 * @v models  2^count - 1 models; the first is that of node 1
 * @v count   how many bits
 * @ret       the number that they are
 */
static uint32_t reverse_tree(struct bits *bits, lzma_probability *models, unsigned count)
{
    uint32_t node = 1, value = 0;

    for (unsigned i = 0; i < count; i++) {
        uint32_t bit = modelled_bit(bits, &models[node - 1]);
        node = node << 1 | bit;
        value |= bit << i;
    }
    return value;
}

/*
 * Decode the length of a match.
 *
 * @v bits      the range decoder
 * @v model     the models of such lengths
 * @v position  the place in the output, modulo 2^pb
 * @ret         the length, from MATCH_MIN on
 */
static uint32_t length(struct bits *bits, struct lzma_lengths *model, unsigned position)
{
    if (!modelled_bit(bits, &model->is_long))
        return MATCH_MIN + tree(bits, model->brief[position], 3);
    if (!modelled_bit(bits, &model->is_longest))
        return MATCH_MIN + 8 + tree(bits, model->middle[position], 3);
    return MATCH_MIN + 16 + tree(bits, model->longest, 8);
}

/*
 * Decode the distance of a match.
 *
 * @v bits          the range decoder
 * @v model         all models
 * @v match_length  the length of the match
 * @ret             the distance less one, or END_MARK
 */
static uint32_t distance(struct bits *bits, struct lzma *model, uint32_t match_length)
{
    uint32_t class = match_length - MATCH_MIN;
    if (class >= LZMA_LENGTH_CLASSES)
        class = LZMA_LENGTH_CLASSES - 1;
    uint32_t slot = tree(bits, model->slot[class], SLOT_BITS);
    if (slot < 4)
        return slot;
    unsigned low_bits = (slot >> 1) - 1;
    uint32_t high = (2 | (slot & 1)) << low_bits;
    if (slot < SLOTS_WITH_MODEL)
        return high + reverse_tree(bits, model->distance + high - slot, low_bits);
    high += plain_bits(bits, low_bits - ALIGN_BITS) << ALIGN_BITS;
    return high + reverse_tree(bits, model->align, ALIGN_BITS);
}

/*
 * Decode a byte.
 *
 * @v bits    the range decoder
 * @v models  the 0x300 models of its context
 * @ret       the byte
 */
static uint8_t literal(struct bits *bits, lzma_probability *models)
{
    return (uint8_t)tree(bits, models, 8);
}

/*
 * Decode a byte after a match: the byte that the match would have gone on with is part of the
 * model.
 *
 * @v bits      the range decoder
 * @v models    the 0x300 models of its context
 * @v expected  the byte that the match would have gone on with
 * @ret         the byte
 */
static uint8_t literal_after_match(struct bits *bits, lzma_probability *models, uint8_t expected)
{
    uint32_t node = 1;

    while (node < 0x100) {
        uint32_t hint = expected >> 7 & 1;
        expected = (uint8_t)(expected << 1);
        uint32_t bit = modelled_bit(bits, &models[(1 + hint) * 0x100 + node]);
        node = node << 1 | bit;
        if (bit != hint)
            break;
    }
    while (node < 0x100)
        node = node << 1 | modelled_bit(bits, &models[node]);
    return (uint8_t)node;
}

/* All that decoding needs to know about the past. */
struct decoder {
    struct bits bits;
    struct lzma *model;
    uint32_t repeats[4]; /* the last four distances, less one, the latest first */
    unsigned state;      /* what kind the last symbols were: specification, section "State" */
};

/*
 * Set all models to "as likely as not".
 *
 * @v model  the models
 */
static void forget(struct lzma *model)
{
    lzma_probability *all = (lzma_probability *)model; /* it consists of nothing else */

    for (size_t i = 0; i < sizeof *model / sizeof *all; i++)
        all[i] = PROBABILITY_HALF;
}

/*
 * Move one of the last distances to the front.
 *
 * @v decoder  the decoder
 * @v index    which of the four
 */
static void take_repeat(struct decoder *decoder, unsigned index)
{
    uint32_t chosen = decoder->repeats[index];

    for (; index; index--)
        decoder->repeats[index] = decoder->repeats[index - 1];
    decoder->repeats[0] = chosen;
}

/*
 * Decode a match; its distance, less one, is in repeats[0] afterwards.
 *
 * @v decoder   the decoder
 * @v position  the place in the output, modulo 2^pb
 * @ret         the length of the match; 0 at the end mark
 */
static uint32_t match(struct decoder *decoder, unsigned position)
{
    struct bits *bits = &decoder->bits;
    struct lzma *model = decoder->model;
    unsigned state = decoder->state;
    bool after_literal = state < 7;

    if (!modelled_bit(bits, &model->is_repeat[state])) {
        uint32_t count = length(bits, &model->match, position);
        take_repeat(decoder, 3);
        decoder->repeats[0] = distance(bits, model, count);
        decoder->state = after_literal ? 7 : 10;
        return decoder->repeats[0] == END_MARK ? 0 : count;
    }
    if (!modelled_bit(bits, &model->is_repeat_1_to_3[state])) {
        if (!modelled_bit(bits, &model->is_repeat_0_long[state][position])) {
            decoder->state = after_literal ? 9 : 11;
            return 1;
        }
    } else if (!modelled_bit(bits, &model->is_repeat_2_or_3[state])) {
        take_repeat(decoder, 1);
    } else {
        take_repeat(decoder, 2 + modelled_bit(bits, &model->is_repeat_3[state]));
    }
    decoder->state = after_literal ? 8 : 11;
    return length(bits, &model->repeat, position);
}

bool lzma_decode(struct lzma *model, uint8_t properties, const uint8_t *in, size_t in_size,
                 uint8_t *out, size_t out_size)
{
    unsigned context_bits = properties % 9;      /* lc */
    unsigned position_bits = properties / 9 % 5; /* lp */
    if (properties >= 9 * 5 * 5 || context_bits + position_bits > LZMA_LITERAL_BITS_MAX)
        return false;
    size_t literal_position_mask = ((size_t)1 << position_bits) - 1;
    size_t position_mask = ((size_t)1 << properties / 45) - 1; /* pb */

    struct decoder decoder = {.model = model};
    struct bits *bits = &decoder.bits;
    if (!begin(bits, in, in_size))
        return false;
    forget(model);

    size_t written = 0;
    while (written < out_size) {
        unsigned state = decoder.state;
        size_t position = written & position_mask;
        if (!modelled_bit(bits, &model->is_match[state][position])) {
            unsigned before = written ? out[written - 1] : 0;
            size_t context = (written & literal_position_mask) << context_bits
                             | before >> (8 - context_bits);
            lzma_probability *models = model->literal + 0x300 * context;
            if (state < 7)
                out[written] = literal(bits, models);
            else
                out[written] = literal_after_match(bits, models,
                                                   out[written - decoder.repeats[0] - 1]);
            written++;
            decoder.state = state < 4 ? 0 : state < 10 ? state - 3 : state - 6;
        } else {
            uint32_t count = match(&decoder, (unsigned)position);
            size_t back = (size_t)decoder.repeats[0] + 1;
            if (count == 0 || count > out_size - written || back > written)
                return false;
            for (; count; count--, written++)
                out[written] = out[written - back];
        }
        if (bits->ran_out)
            return false;
    }
    return true;
}
