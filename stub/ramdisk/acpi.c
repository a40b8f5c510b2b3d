#include "acpi.h"

/*
 * The header of every table (ACPI 6.5 §5.2.6):
 *
 *   offset  size
 *        0     4  signature
 *        4     4  size of the whole table
 *        8     1  revision
 *        9     1  checksum: makes the sum of all bytes 0
 *       10     6  OEM id
 *       16     8  OEM table id
 *       24     4  OEM revision
 *       28     4  creator id
 *       32     4  creator revision
 */
enum { HEADER_SIZE = 36, CHECKSUM = 9 };

/*
 * After the header and four reserved bytes an NFIT (ACPI 6.5 §5.2.25) is a row of structures that
 * begin with type and size, two bytes each. A System Physical Address range (§5.2.25.2):
 *
 *   offset  size
 *        0     2  type: 0
 *        2     2  size: 56
 *        4     2  index of the range, from 1 on
 *        6     2  flags
 *       12     4  proximity domain, valid by a flag
 *       16    16  GUID of what the range is
 *       32     8  start
 *       40     8  size
 *       48     8  memory attributes, as in UEFI's memory map
 */
enum {
    NFIT_STRUCTURES = HEADER_SIZE + 4,
    RANGE_TYPE = 0,
    RANGE_SIZE = 56,
    MEMORY_WRITE_BACK = 0x08,
};

/*
 * AML (ACPI 6.5 §20.2) of:
 *
 *   Scope (\_SB) { Device (BSRD) { Name (_HID, "ACPI0012")  Name (_STA, 0x0F) } }
 */
static const uint8_t AML[] = {
    0x10, 0x23, '\\', '_', 'S', 'B', '_',             /* ScopeOp, 35 bytes, \_SB_ */
    0x5B, 0x82, 0x1B, 'B', 'S', 'R', 'D',             /* DeviceOp, 27 bytes, BSRD */
    0x08, '_', 'H', 'I', 'D', 0x0D,                   /* NameOp, _HID, StringPrefix */
    'A',  'C', 'P', 'I', '0', '0', '1', '2', 0x00,
    0x08, '_', 'S', 'T', 'A', 0x0A, 0x0F,             /* NameOp, _STA, BytePrefix, working */
};

_Static_assert(HEADER_SIZE + sizeof AML == SSDT_SIZE, "SSDT_SIZE is the SSDT's size");
_Static_assert(NFIT_STRUCTURES + RANGE_SIZE == NFIT_SIZE, "NFIT_SIZE is the NFIT's size");

/*
 * Copy bytes.
 *
 * @v to    where to
 * @v from  where from; apart from `to`
 * @v size  how many
 */
static void put(uint8_t *to, const void *from, size_t size)
{
    __builtin_memcpy(to, from, size);
}

/*
 * Write a number, little-endian.
 *
 * @v to      where to
 * @v number  the number
 * @v size    in how many bytes
 */
static void put_number(uint8_t *to, uint64_t number, size_t size)
{
    for (; size; size--, number >>= 8)
        *to++ = (uint8_t)number;
}

/*
 * Read a number, little-endian.
 *
 * @v from  its bytes
 * @v size  how many, at most 8
 * @ret     the number
 */
static uint64_t number_at(const uint8_t *from, size_t size)
{
    uint64_t number = 0;

    while (size--)
        number = number << 8 | from[size];
    return number;
}

/*
 * Begin a table: its header, and zeros.
 *
 * @v table      where it goes
 * @v signature  its four letters
 * @v size       the size of the whole table
 * @v revision   its revision
 */
static void put_header(uint8_t *table, const char *signature, size_t size, uint8_t revision)
{
    __builtin_memset(table, 0, size);
    put(table, signature, 4);
    put_number(table + 4, size, 4);
    table[8] = revision;
    put(table + 10, "BOOTSV", 6);
    put(table + 16, "RAMDISK ", 8);
    put_number(table + 24, 1, 4);
    put(table + 28, "BSRD", 4);
    put_number(table + 32, 1, 4);
}

/*
 * Set the checksum of a table that is otherwise done.
 *
 * @v table  the table
 * @v size   its size in bytes
 */
static void put_checksum(uint8_t *table, size_t size)
{
    uint8_t sum = 0;

    table[CHECKSUM] = 0;
    for (size_t i = 0; i < size; i++)
        sum = (uint8_t)(sum + table[i]);
    table[CHECKSUM] = (uint8_t)-sum;
}

void acpi_make_nfit(uint8_t table[NFIT_SIZE], uint64_t start, uint64_t size,
                    const uint8_t guid[GUID_SIZE])
{
    uint8_t *range = table + NFIT_STRUCTURES;

    put_header(table, "NFIT", NFIT_SIZE, 1);
    put_number(range, RANGE_TYPE, 2);
    put_number(range + 2, RANGE_SIZE, 2);
    put_number(range + 4, 1, 2);
    put(range + 16, guid, GUID_SIZE);
    put_number(range + 32, start, 8);
    put_number(range + 40, size, 8);
    put_number(range + 48, MEMORY_WRITE_BACK, 8);
    put_checksum(table, NFIT_SIZE);
}

void acpi_make_ssdt(uint8_t table[SSDT_SIZE])
{
    put_header(table, "SSDT", SSDT_SIZE, 2);
    put(table + HEADER_SIZE, AML, sizeof AML);
    put_checksum(table, SSDT_SIZE);
}

uint32_t acpi_table_size(const uint8_t *table)
{
    return (uint32_t)number_at(table + 4, 4);
}

bool acpi_nfit_has(const uint8_t *table, uint64_t start, uint64_t size)
{
    uint64_t end = acpi_table_size(table);
    uint64_t at = NFIT_STRUCTURES;

    while (at + 4 <= end) {
        const uint8_t *structure = table + at;
        uint64_t structure_size = number_at(structure + 2, 2);
        if (structure_size < 4 || structure_size > end - at)
            return false;
        if (number_at(structure, 2) == RANGE_TYPE && structure_size >= RANGE_SIZE &&
            number_at(structure + 32, 8) == start && number_at(structure + 40, 8) == size)
            return true;
        at += structure_size;
    }
    return false;
}
