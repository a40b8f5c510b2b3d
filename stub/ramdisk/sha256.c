#include "sha256.h"

#include <cpuid.h>
#include <stdbool.h>

/* FIPS 180-4 §4.2.2 */
static const uint32_t K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

typedef void compress_blocks(uint32_t state[8], const uint8_t *blocks, size_t count);

/*
 * Rotate a word to the right.
 *
 * @v x     the word
 * @v bits  by how many bits
 * @ret     the rotated word
 */
static uint32_t rotate(uint32_t x, unsigned bits)
{
    return x >> bits | x << (32 - bits);
}

/*
 * Read a big-endian number.
 *
 * @v bytes  four bytes
 * @ret      the number
 */
static uint32_t big_endian(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/*
 * Hash whole blocks. FIPS 180-4 §6.2.2
 *
 * @v state   the hash so far, which is changed
 * @v blocks  the blocks
 * @v count   their number
 */
static void compress_portably(uint32_t state[8], const uint8_t *blocks, size_t count)
{
    for (; count; count--, blocks += SHA256_BLOCK) {
        uint32_t w[64];
        for (unsigned t = 0; t < 16; t++)
            w[t] = big_endian(blocks + 4 * t);
        for (unsigned t = 16; t < 64; t++) {
            uint32_t s0 = rotate(w[t - 15], 7) ^ rotate(w[t - 15], 18) ^ w[t - 15] >> 3;
            uint32_t s1 = rotate(w[t - 2], 17) ^ rotate(w[t - 2], 19) ^ w[t - 2] >> 10;
            w[t] = w[t - 16] + s0 + w[t - 7] + s1;
        }
        uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
        uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
#pragma GCC unroll 8 /* so that a to h are renamed, not moved */
        for (unsigned t = 0; t < 64; t++) {
            uint32_t sum1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
            uint32_t t1 = h + sum1 + ((e & f) ^ (~e & g)) + K[t] + w[t];
            uint32_t sum0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
            uint32_t t2 = sum0 + ((a & b) ^ (a & c) ^ (b & c));
            h = g;
            g = f;
            f = e;
            e = d + t1;
            d = c;
            c = b;
            b = a;
            a = t1 + t2;
        }
        state[0] += a;
        state[1] += b;
        state[2] += c;
        state[3] += d;
        state[4] += e;
        state[5] += f;
        state[6] += g;
        state[7] += h;
    }
}

/*
 * The same by the processor's SHA extensions, which most PCs since 2018 have. In vector
 * types that gcc and clang share, for <immintrin.h> wants a C library's headers.
 */
typedef int vector __attribute__((vector_size(16)));
typedef char bytes16 __attribute__((vector_size(16)));

/* Four numbers that need not be aligned. */
struct unaligned_vector {
    vector v;
} __attribute__((packed, aligned(1), may_alias));

/*
 * Read four numbers that need not be aligned.
 *
 * @v from  where from
 * @ret     the numbers
 */
static vector load(const void *from)
{
    return ((const struct unaligned_vector *)from)->v;
}

/*
 * Write four numbers that need not be aligned.
 *
 * @v to  where to
 * @v v   the numbers
 */
static void store(void *to, vector v)
{
    ((struct unaligned_vector *)to)->v = v;
}

/*
 * Hash whole blocks, by the SHA extensions.
 *
 * @v state   the hash so far, which is changed
 * @v blocks  the blocks
 * @v count   their number
 */
__attribute__((target("sha,ssse3"))) static void
compress_by_processor(uint32_t state[8], const uint8_t *blocks, size_t count)
{
    const bytes16 swap = {3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12};
    const vector abcd = load(state), efgh = load(state + 4);
    /* The instructions want the state as ABEF and CDGH, first word highest. */
    vector abef = __builtin_shufflevector(abcd, efgh, 5, 4, 1, 0);
    vector cdgh = __builtin_shufflevector(abcd, efgh, 7, 6, 3, 2);

    for (; count; count--, blocks += SHA256_BLOCK) {
        const vector abef_before = abef, cdgh_before = cdgh;
        vector w[4]; /* the last 16 words of the schedule */

        for (unsigned i = 0; i < 16; i++) { /* four rounds each */
            vector *now = &w[i % 4];
            if (i < 4) {
                *now = (vector)__builtin_ia32_pshufb128((bytes16)load(blocks + 16 * i), swap);
            } else {
                /* w[t-16] + s0(w[t-15]), then + w[t-7], then + s1(w[t-2]) */
                vector t_7 = __builtin_shufflevector(w[(i + 2) % 4], w[(i + 3) % 4], 1, 2, 3, 4);
                *now = __builtin_ia32_sha256msg1(*now, w[(i + 1) % 4]);
                *now = __builtin_ia32_sha256msg2(*now + t_7, w[(i + 3) % 4]);
            }
            vector added = *now + load(&K[4 * i]);
            cdgh = __builtin_ia32_sha256rnds2(cdgh, abef, added);
            added = __builtin_shufflevector(added, added, 2, 3, 0, 0);
            abef = __builtin_ia32_sha256rnds2(abef, cdgh, added);
        }
        abef += abef_before;
        cdgh += cdgh_before;
    }
    store(state, __builtin_shufflevector(abef, cdgh, 3, 2, 7, 6));
    store(state + 4, __builtin_shufflevector(abef, cdgh, 1, 0, 5, 4));
}

/*
 * Ask for the instructions that were used above (Intel SDM, CPUID).
 *
 * @ret  whether this processor has them
 */
static bool has_sha_extensions(void)
{
    uint32_t a, b, c, d;

    __cpuid(0, a, b, c, d);
    if (a < 7)
        return false;
    __cpuid(1, a, b, c, d);
    if (!(c & bit_SSSE3))
        return false;
    __cpuid_count(7, 0, a, b, c, d);
    return b & bit_SHA;
}

/*
 * Copy bytes.
 *
 * @v to      where to
 * @v from    where from; apart from `to`
 * @v length  how many
 */
static void copy(uint8_t *to, const uint8_t *from, size_t length)
{
    while (length--)
        *to++ = *from++;
}

/*
 * Hash bytes.
 *
 * @v hash      the hash so far, which is changed
 * @v bytes     the bytes
 * @v length    their number
 * @v compress  what hashes whole blocks
 */
static void add(struct sha256 *hash, const uint8_t *bytes, size_t length, compress_blocks *compress)
{
    size_t used = hash->length % SHA256_BLOCK;

    hash->length += length;
    if (used) {
        size_t room = SHA256_BLOCK - used;
        if (length < room) {
            copy(hash->pending + used, bytes, length);
            return;
        }
        copy(hash->pending + used, bytes, room);
        compress(hash->state, hash->pending, 1);
        bytes += room;
        length -= room;
    }
    compress(hash->state, bytes, length / SHA256_BLOCK);
    copy(hash->pending, bytes + length / SHA256_BLOCK * SHA256_BLOCK, length % SHA256_BLOCK);
}

void sha256_begin(struct sha256 *hash)
{
    /* FIPS 180-4 §5.3.3 */
    *hash = (struct sha256){.state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f,
                                      0x9b05688c, 0x1f83d9ab, 0x5be0cd19}};
}

void sha256_add_portably(struct sha256 *hash, const void *bytes, size_t length)
{
    add(hash, bytes, length, compress_portably);
}

void sha256_add(struct sha256 *hash, const void *bytes, size_t length)
{
    static compress_blocks *compress;

    if (!compress)
        compress = has_sha_extensions() ? compress_by_processor : compress_portably;
    add(hash, bytes, length, compress);
}

void sha256_end(struct sha256 *hash, uint8_t digest[SHA256_SIZE])
{
    /* FIPS 180-4 §5.1.1: a one bit, zeros, the length in bits as the last eight bytes of a block */
    uint64_t bits = hash->length * 8;
    size_t used = hash->length % SHA256_BLOCK;
    uint8_t tail[2 * SHA256_BLOCK] = {0x80};
    size_t length = (used < 56 ? 64 : 128) - used;

    for (unsigned i = 0; i < 8; i++)
        tail[length - 8 + i] = (uint8_t)(bits >> (56 - 8 * i));
    sha256_add(hash, tail, length);
    for (unsigned i = 0; i < SHA256_SIZE; i++)
        digest[i] = (uint8_t)(hash->state[i / 4] >> (24 - 8 * (i % 4)));
}
