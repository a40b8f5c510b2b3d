#include "carried.h"

enum {
    PE_OFFSET = 0x3C,
    PE_HEADER_SIZE = 24, /* signature and COFF header */
    SECTION_SIZE = 40,   /* of an entry in the section table */
    SECTION_NAME = 8,
    PART_NAME = 12,
    PART_HEADER_SIZE = 16,
};

/*
 * Read a little-endian number.
 *
 * @v bytes  two bytes
 * @ret      the number
 */
static uint32_t u16(const uint8_t *bytes)
{
    return bytes[0] | (uint32_t)bytes[1] << 8;
}

/*
 * Read a little-endian number.
 *
 * @v bytes  four bytes
 * @ret      the number
 */
static uint32_t u32(const uint8_t *bytes)
{
    return u16(bytes) | u16(bytes + 2) << 16;
}

/*
 * Compare a field with a name.
 *
 * @v field  a field that is filled up with NUL
 * @v size   its size in bytes
 * @v name   the name
 * @ret      whether the field holds that name and nothing after it
 */
static bool is_named(const uint8_t *field, size_t size, const char *name)
{
    for (size_t i = 0; i < size; i++) {
        if (field[i] != (uint8_t)*name)
            return false;
        if (*name)
            name++;
    }
    return *name == '\0';
}

/*
 * Cut a piece out of some bytes.
 *
 * @v whole   the bytes
 * @v offset  where the piece begins
 * @v size    its size
 * @v found   the piece, which points into `whole`; left alone on failure
 * @ret       whether all of the piece lies inside
 */
static bool slice(struct bytes whole, size_t offset, size_t size, struct bytes *found)
{
    if (offset > whole.size || size > whole.size - offset)
        return false;
    *found = (struct bytes){whole.data + offset, size};
    return true;
}

bool find_section(struct bytes image, const char *name, struct bytes *section)
{
    struct bytes start, header, table;

    if (!slice(image, PE_OFFSET, 4, &start)
        || !slice(image, u32(start.data), PE_HEADER_SIZE, &header)
        || u32(header.data) != u32((const uint8_t *)"PE\0"))
        return false;
    size_t count = u16(header.data + 6);
    size_t table_offset = (size_t)u32(start.data) + PE_HEADER_SIZE + u16(header.data + 20);
    if (!slice(image, table_offset, count * SECTION_SIZE, &table))
        return false;
    for (size_t i = 0; i < count; i++) {
        const uint8_t *entry = table.data + i * SECTION_SIZE;
        if (is_named(entry, SECTION_NAME, name))
            return slice(image, u32(entry + 12), u32(entry + 8), section);
    }
    return false;
}

bool find_part(struct bytes section, const char *name, struct bytes *part)
{
    size_t offset = 0;
    struct bytes header;

    while (slice(section, offset, PART_HEADER_SIZE, &header) && header.data[0]) {
        offset += PART_HEADER_SIZE;
        if (!slice(section, offset, u32(header.data + PART_NAME), part))
            return false;
        if (is_named(header.data, PART_NAME, name))
            return true;
        offset += part->size;
    }
    return false;
}
