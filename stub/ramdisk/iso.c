#include "iso.h"

#include <stddef.h>

/*
 * Volume descriptors (ECMA-119 §8) are a sector each, from sector 16 on:
 *
 *   offset  size
 *        0     1  type: 0 boot record, 1 primary volume, 255 end of the set
 *        1     5  "CD001"
 *        7    32  boot record: "EL TORITO SPECIFICATION"
 *       71     4  boot record: sector of the boot catalog (El Torito 1.0, figure 7)
 *      156    34  primary volume: the root directory's record
 */
enum {
    FIRST_DESCRIPTOR = 16,
    DESCRIPTORS_MAX = 64, /* a disc has three or four */
    DESCRIPTOR_BOOT = 0,
    DESCRIPTOR_PRIMARY = 1,
    DESCRIPTOR_END = 255,
};

/*
 * The boot catalog (El Torito 1.0 §2) is a row of 32-byte entries: validation entry, initial entry,
 * then sections of a header and its entries.
 *
 *   offset  size
 *        0     1  0x01 validation, 0x88 bootable, 0x90 header, 0x91 last header, 0x44 extension
 *        1     1  validation, header: platform; entry: emulation in bits 0-3, 0 for none
 *        2     2  header: number of its entries
 *        6     2  entry: load count in 512-byte sectors
 *        8     4  entry: first sector
 *       30     2  validation: 0x55 0xAA
 */
enum {
    ENTRY_SIZE = 32,
    ENTRIES_MAX = 2048,
    ENTRY_VALIDATION = 0x01,
    ENTRY_BOOTABLE = 0x88,
    ENTRY_HEADER = 0x90,
    ENTRY_LAST_HEADER = 0x91,
    ENTRY_EXTENSION = 0x44,
    EMULATION_MASK = 0x0F,
    PLATFORM_EFI = 0xEF, /* UEFI 2.10 §13.3.2.1 */
};

/*
 * A directory record (ECMA-119 §9.1):
 *
 *   offset  size
 *        0     1  length of the record; 0: the next one is in the next sector
 *        1     1  length of the extended attribute record, in sectors, before the content
 *        2     4  first sector
 *       10     4  size of the content in bytes
 *       25     1  flags: 0x02 directory, 0x80 the file goes on in the next record
 *       32     1  length of the name
 *       33        name, in files with ";" and a version
 */
enum {
    RECORD_SIZE_MIN = 34,
    FLAG_DIRECTORY = 0x02,
    FLAG_GOES_ON = 0x80,
    ROOT_RECORD = 156,
};

/*
 * A FAT volume (Microsoft FAT specification 1.03 §3):
 *
 *   offset  size
 *       11     2  bytes in a sector
 *       13     1  sectors in a cluster
 *       14     2  sectors before the first FAT
 *       16     1  FATs
 *       17     2  entries in the root directory, 0 for FAT32
 *       22     2  sectors in a FAT, 0 for FAT32, which has them at 36 in 4
 *       44     4  FAT32: first cluster of the root directory
 *
 * and an entry of its directories (§6): 11 bytes of name; 11: attributes; 20: high half, 26: low
 * half of the first cluster.
 */
enum {
    FAT_ENTRY_SIZE = 32,
    FAT_DIRECTORY = 0x10,
    FAT_DIRECTORY_MAX = 65536, /* read of one: EFI and BOOT stand among the first */
};

/*
 * Read a little-endian number.
 *
 * @v bytes  two bytes
 * @ret      the number
 */
static uint16_t u16(const uint8_t *bytes)
{
    return (uint16_t)(bytes[0] | bytes[1] << 8);
}

/*
 * Read a little-endian number.
 *
 * @v bytes  four bytes
 * @ret      the number
 */
static uint32_t u32(const uint8_t *bytes)
{
    return u16(bytes) | (uint32_t)u16(bytes + 2) << 16;
}

/*
 * Find a piece of the disc.
 *
 * @v disc   the disc
 * @v start  where the piece begins
 * @v size   its size in bytes
 * @ret      the piece, which points into the disc; NULL when it is not all there
 */
static const uint8_t *bytes_at(const struct disc *disc, uint64_t start, uint64_t size)
{
    if (start > disc->size || size > disc->size - start)
        return NULL;
    return disc->bytes + start;
}

/*
 * Find a volume descriptor.
 *
 * @v disc  the disc
 * @v type  the descriptor's type
 * @ret     its sector, which points into the disc; NULL if there is none
 */
static const uint8_t *find_descriptor(const struct disc *disc, uint8_t type)
{
    for (uint64_t i = 0; i < DESCRIPTORS_MAX; i++) {
        const uint8_t *sector = bytes_at(disc, (FIRST_DESCRIPTOR + i) * CD_SECTOR, CD_SECTOR);
        if (!sector || __builtin_memcmp(sector + 1, "CD001", 5) != 0)
            return NULL;
        if (sector[0] == type)
            return sector;
        if (sector[0] == DESCRIPTOR_END)
            return NULL;
    }
    return NULL;
}

bool iso_has_volume(const struct disc *disc)
{
    return find_descriptor(disc, DESCRIPTOR_PRIMARY) != NULL;
}

/*
 * Read the size of a FAT file system, by its own word.
 *
 * @v disc   the disc
 * @v start  where the file system begins
 * @ret      its size in bytes; 0 if there is none
 */
static uint64_t fat_size(const struct disc *disc, uint64_t start)
{
    const uint8_t *sector = bytes_at(disc, start, 512);

    if (!sector || sector[510] != 0x55 || sector[511] != 0xAA)
        return 0;
    uint32_t sectors = u16(sector + 19) ? u16(sector + 19) : u32(sector + 32);
    return (uint64_t)u16(sector + 11) * sectors;
}

/*
 * Find a directory by its name in a FAT directory.
 *
 * @v disc          the disc
 * @v extent        the directory to look in
 * @v name          the name, 11 characters
 * @v clusters      where cluster 2 lies, the first that there is
 * @v cluster_size  the size of a cluster in bytes
 * @ret             where the content of the directory begins; 0 if there is none
 */
static uint64_t find_in_fat(const struct disc *disc, const struct extent *extent, const char *name,
                            uint64_t clusters, uint64_t cluster_size)
{
    uint64_t size = extent->size < FAT_DIRECTORY_MAX ? extent->size : FAT_DIRECTORY_MAX;

    for (uint64_t at = 0; at + FAT_ENTRY_SIZE <= size; at += FAT_ENTRY_SIZE) {
        const uint8_t *entry = bytes_at(disc, extent->start + at, FAT_ENTRY_SIZE);
        if (!entry)
            return 0;
        if ((entry[11] & FAT_DIRECTORY) && __builtin_memcmp(entry, name, 11) == 0) {
            uint32_t cluster = u16(entry + 26) | (uint32_t)u16(entry + 20) << 16;
            return cluster < 2 ? 0 : clusters + (cluster - 2) * cluster_size;
        }
    }
    return 0;
}

/*
 * Look for the directory EFI/BOOT in a FAT file system.
 *
 * @v disc   the disc
 * @v start  where the file system begins
 * @ret      whether it has one
 */
static bool holds_efi_boot(const struct disc *disc, uint64_t start)
{
    if (!fat_size(disc, start))
        return false;
    const uint8_t *sector = disc->bytes + start;
    uint64_t sector_size = u16(sector + 11);
    uint64_t cluster_size = sector_size * sector[13];
    uint64_t fat_sectors = u16(sector + 22) ? u16(sector + 22) : u32(sector + 36);
    uint64_t root_size = (uint64_t)u16(sector + 17) * FAT_ENTRY_SIZE;
    uint64_t root = start + (u16(sector + 14) + sector[16] * fat_sectors) * sector_size;
    uint64_t clusters = root + root_size;

    if (!root_size) { /* FAT32 */
        root = clusters + (uint64_t)(u32(sector + 44) - 2) * cluster_size;
        root_size = cluster_size;
    }
    struct extent directory = {root, root_size};
    directory.start = find_in_fat(disc, &directory, "EFI        ", clusters, cluster_size);
    directory.size = cluster_size;
    return directory.start && find_in_fat(disc, &directory, "BOOT       ", clusters, cluster_size);
}

/*
 * Find the image of an entry of the boot catalog. Its load count cannot be relied on: it is 16 bits
 * wide, and discs for Windows say 1. So the file system's own size counts, and else everything up
 * to the disc's end.
 *
 * @v disc   the disc
 * @v entry  the entry, 32 bytes
 * @v image  where its image lies; left alone on failure
 * @ret      whether the entry can be booted without emulation, and begins on the disc
 */
static bool image_of(const struct disc *disc, const uint8_t *entry, struct extent *image)
{
    uint64_t start = (uint64_t)u32(entry + 8) * CD_SECTOR;
    uint64_t size = (uint64_t)u16(entry + 6) * 512;

    if (entry[0] != ENTRY_BOOTABLE || (entry[1] & EMULATION_MASK) || !start || start >= disc->size)
        return false;
    if (fat_size(disc, start) > size)
        size = fat_size(disc, start);
    if (size < CD_SECTOR || size > disc->size - start)
        size = disc->size - start;
    *image = (struct extent){start, size};
    return true;
}

/* Discs are made whose EFI image is said to be for a BIOS: firmware does not mind, nor do we. */
bool iso_find_efi_image(const struct disc *disc, struct extent *image)
{
    const uint8_t *boot = find_descriptor(disc, DESCRIPTOR_BOOT);
    if (!boot || __builtin_memcmp(boot + 7, "EL TORITO SPECIFICATION", 23) != 0)
        return false;

    uint64_t catalog = (uint64_t)u32(boot + 71) * CD_SECTOR;
    uint8_t platform = 0;
    unsigned left = 0; /* entries of this section still to come */
    bool is_last = false;
    bool found = false; /* an image of another platform with EFI/BOOT */
    struct extent other;
    for (unsigned i = 0; i < ENTRIES_MAX; i++) {
        const uint8_t *entry = bytes_at(disc, catalog + i * ENTRY_SIZE, ENTRY_SIZE);
        if (!entry)
            break;
        if (i == 0) {
            if (entry[0] != ENTRY_VALIDATION || entry[30] != 0x55 || entry[31] != 0xAA)
                return false;
            platform = entry[1];
            left = 1;
        } else if (entry[0] == ENTRY_EXTENSION) {
            continue;
        } else if (left) {
            left--;
            if (!image_of(disc, entry, &other))
                continue;
            if (platform == PLATFORM_EFI) {
                *image = other;
                return true;
            }
            if (!found && holds_efi_boot(disc, other.start)) {
                *image = other;
                found = true;
            }
        } else if (!is_last && (entry[0] == ENTRY_HEADER || entry[0] == ENTRY_LAST_HEADER)) {
            platform = entry[1];
            left = u16(entry + 2);
            is_last = entry[0] == ENTRY_LAST_HEADER;
        } else {
            break;
        }
    }
    return found;
}

/*
 * Find the content that a directory record names.
 *
 * @v disc    the disc
 * @v record  the record
 * @v extent  where the content lies; undefined on failure
 * @ret       whether it is all on the disc, and not empty
 */
static bool extent_of(const struct disc *disc, const uint8_t *record, struct extent *extent)
{
    extent->start = ((uint64_t)u32(record + 2) + record[1]) * CD_SECTOR;
    extent->size = u32(record + 10);
    return extent->size && bytes_at(disc, extent->start, extent->size);
}

/*
 * Make a letter of ASCII upper case.
 *
 * @v c  a character
 * @ret  the same in upper case
 */
static uint8_t upper(uint8_t c)
{
    return c >= 'a' && c <= 'z' ? c - ('a' - 'A') : c;
}

/*
 * Compare a record's name, but for case, version, and the dot after a name without one.
 *
 * @v record  the record
 * @v name    the name
 * @v length  its length
 * @ret       whether the record has it
 */
static bool is_named(const uint8_t *record, const char *name, size_t length)
{
    const uint8_t *own = record + 33;
    size_t own_length = 0;

    while (own_length < record[32] && own[own_length] != ';')
        own_length++;
    if (own_length && own[own_length - 1] == '.')
        own_length--;
    if (own_length != length)
        return false;
    for (size_t i = 0; i < length; i++)
        if (upper(own[i]) != upper((uint8_t)name[i]))
            return false;
    return true;
}

/*
 * Find a record by its name in a directory.
 *
 * @v disc       the disc
 * @v directory  the directory, all of it on the disc
 * @v name       the name
 * @v length     its length
 * @ret          the record, which points into the disc; NULL if there is none
 */
static const uint8_t *find_record(const struct disc *disc, const struct extent *directory,
                                  const char *name, size_t length)
{
    const uint8_t *bytes = disc->bytes + directory->start;
    uint64_t at = 0;

    while (directory->size - at >= RECORD_SIZE_MIN) {
        const uint8_t *record = bytes + at;
        uint64_t rest = directory->size - at;
        if (!record[0]) {
            uint64_t next = (at / CD_SECTOR + 1) * CD_SECTOR;
            if (next >= directory->size)
                return NULL;
            at = next;
            continue;
        }
        if (record[0] < RECORD_SIZE_MIN || record[0] > rest || 33u + record[32] > record[0])
            return NULL;
        if (is_named(record, name, length))
            return record;
        at += record[0];
    }
    return NULL;
}

bool iso_find_file(const struct disc *disc, const char *path, struct extent *file)
{
    const uint8_t *volume = find_descriptor(disc, DESCRIPTOR_PRIMARY);
    if (!volume || !extent_of(disc, volume + ROOT_RECORD, file))
        return false;

    for (;;) {
        size_t length = 0;
        while (path[length] && path[length] != '/')
            length++;
        const uint8_t *record = find_record(disc, file, path, length);
        bool is_directory = path[length] == '/';
        if (!record || !(record[25] & FLAG_DIRECTORY) == is_directory)
            return false;
        if ((record[25] & FLAG_GOES_ON) || !extent_of(disc, record, file))
            return false;
        if (!is_directory)
            return true;
        path += length + 1;
    }
}
