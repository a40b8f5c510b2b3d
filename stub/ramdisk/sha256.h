/* SHA-256 (FIPS 180-4 §6.2). Pure. */
#ifndef SHA256_H
#define SHA256_H

#include <stddef.h>
#include <stdint.h>

enum { SHA256_SIZE = 32, SHA256_BLOCK = 64 };

struct sha256 {
    uint32_t state[8];
    uint64_t length; /* bytes hashed so far, `pending` included */
    uint8_t pending[SHA256_BLOCK];
};

/*
 * Begin a hash.
 *
 * @v hash  the hash, whatever is in it
 */
void sha256_begin(struct sha256 *hash);

/*
 * Hash bytes, by the processor's SHA instructions where it has them.
 *
 * @v hash    the hash so far, which is changed
 * @v bytes   the bytes
 * @v length  their number
 */
void sha256_add(struct sha256 *hash, const void *bytes, size_t length);

/*
 * End a hash.
 *
 * @v hash    the hash, which is used up
 * @v digest  where the digest goes
 */
void sha256_end(struct sha256 *hash, uint8_t digest[SHA256_SIZE]);

/*
 * Hash bytes without the processor's SHA instructions: what tests compare with.
 *
 * @v hash    the hash so far, which is changed
 * @v bytes   the bytes
 * @v length  their number
 */
void sha256_add_portably(struct sha256 *hash, const void *bytes, size_t length);

#endif
