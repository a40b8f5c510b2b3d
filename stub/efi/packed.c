#include "packed.h"

#include "filter.h"

/*
 * Read a little-endian number.
 *
 * @v bytes  four bytes
 * @ret      the number
 */
static uint32_t u32(const uint8_t *bytes)
{
    return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

/*
 * Compute the CRC-32 of ISO 3309 and zip.
 *
 * @v bytes  what it is of
 * @v size   their number
 * @ret      the CRC-32
 */
static uint32_t crc32(const uint8_t *bytes, size_t size)
{
    uint32_t crc = 0xFFFFFFFF;

    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320 : 0);
    }
    return ~crc;
}

size_t packed_program_size(const uint8_t *packed, size_t size)
{
    if (size < PACKED_HEADER_SIZE || u32(packed) != u32((const uint8_t *)"BSP1"))
        return 0;
    if (u32(packed + 8) > size - PACKED_HEADER_SIZE || u32(packed + 4) > PROGRAM_SIZE_MAX)
        return 0;
    return u32(packed + 4);
}

bool packed_unpack(struct lzma *model, const uint8_t *packed, size_t size, uint8_t *program)
{
    size_t program_size = packed_program_size(packed, size);

    if (program_size == 0
        || !lzma_decode(model, packed[16], packed + PACKED_HEADER_SIZE, u32(packed + 8), program,
                        program_size))
        return false;
    filter_undo(program, program_size);
    return crc32(program, program_size) == u32(packed + 12);
}
