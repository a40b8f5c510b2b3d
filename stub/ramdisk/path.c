#include "path.h"

enum {
    RAM_DISK_SUBTYPE = 9, /* UEFI 2.10 §10.3.5.9 */
    NAME_MAX = 64,
};

struct ram_disk_node {
    EFI_DEVICE_PATH header;
    UINT64 start;
    UINT64 end;
    EFI_GUID type;
    UINT16 instance;
} __attribute__((packed));

struct cdrom_node { /* §10.3.5.2 */
    EFI_DEVICE_PATH header;
    UINT32 boot_entry;
    UINT64 start;
    UINT64 blocks;
} __attribute__((packed));

struct file_node { /* §10.3.5.4 */
    EFI_DEVICE_PATH header;
    CHAR16 name[NAME_MAX];
} __attribute__((packed));

/*
 * Read the size of a node.
 *
 * @v node  the node
 * @ret     its size in bytes
 */
static size_t size_of(const EFI_DEVICE_PATH *node)
{
    return node->Length[0] | (size_t)node->Length[1] << 8;
}

/*
 * Look for the end of a path.
 *
 * @v node  a node of it
 * @ret     whether it is the last, or damaged
 */
static bool is_end(const EFI_DEVICE_PATH *node)
{
    return node->Type == END_DEVICE_PATH_TYPE || size_of(node) < sizeof *node;
}

/*
 * Find the next node.
 *
 * @v node  a node that is not the last
 * @ret     the next one of the same path
 */
static const EFI_DEVICE_PATH *after(const EFI_DEVICE_PATH *node)
{
    return (const EFI_DEVICE_PATH *)((const uint8_t *)node + size_of(node));
}

/*
 * Measure all nodes but the last, which only says that it is the last.
 *
 * @v path  the path
 * @ret     their size in bytes
 */
static size_t size_of_nodes(const EFI_DEVICE_PATH *path)
{
    const EFI_DEVICE_PATH *node = path;

    while (!is_end(node))
        node = after(node);
    return (size_t)((const uint8_t *)node - (const uint8_t *)path);
}

/*
 * Make the header of a node.
 *
 * @v type     the node's type
 * @v subtype  its subtype
 * @v size     the size of the whole node in bytes
 * @ret        the header
 */
static EFI_DEVICE_PATH header(uint8_t type, uint8_t subtype, size_t size)
{
    return (EFI_DEVICE_PATH){type, subtype, {(uint8_t)size, (uint8_t)(size >> 8)}};
}

EFI_DEVICE_PATH *path_of(struct path *path)
{
    return (EFI_DEVICE_PATH *)path->bytes;
}

bool path_append(struct path *path, const EFI_DEVICE_PATH *base, const EFI_DEVICE_PATH *node)
{
    EFI_DEVICE_PATH end =
        header(END_DEVICE_PATH_TYPE, END_ENTIRE_DEVICE_PATH_SUBTYPE, sizeof end);
    size_t base_size = base ? size_of_nodes(base) : 0;
    size_t node_size = size_of(node);

    if (base_size + node_size + sizeof end > sizeof path->bytes)
        return false;
    if (base)
        __builtin_memcpy(path->bytes, base, base_size);
    __builtin_memcpy(path->bytes + base_size, node, node_size);
    __builtin_memcpy(path->bytes + base_size + node_size, &end, sizeof end);
    return true;
}

bool path_append_ram_disk(struct path *path, uint64_t start, uint64_t size, const EFI_GUID *type)
{
    struct ram_disk_node node = {.start = start, .end = start + size - 1, .type = *type};

    node.header = header(MEDIA_DEVICE_PATH, RAM_DISK_SUBTYPE, sizeof node);
    return path_append(path, NULL, &node.header);
}

bool path_append_cdrom(struct path *path, const EFI_DEVICE_PATH *base, uint64_t start,
                       uint64_t size, uint32_t block_size)
{
    struct cdrom_node node = {
        .boot_entry = 1,
        .start = start / block_size,
        .blocks = (size + block_size - 1) / block_size,
    };

    node.header = header(MEDIA_DEVICE_PATH, MEDIA_CDROM_DP, sizeof node);
    return path_append(path, base, &node.header);
}

bool path_append_file(struct path *path, const EFI_DEVICE_PATH *base, const char *name)
{
    struct file_node node;
    size_t length = 0;

    for (; name[length]; length++) {
        if (length + 1 == NAME_MAX)
            return false;
        node.name[length] = (CHAR16)name[length];
    }
    node.name[length] = 0;
    node.header = header(MEDIA_DEVICE_PATH, MEDIA_FILEPATH_DP,
                         sizeof node.header + (length + 1) * sizeof(CHAR16));
    return path_append(path, base, &node.header);
}

bool path_begins_with(const EFI_DEVICE_PATH *path, const EFI_DEVICE_PATH *base)
{
    size_t size = size_of_nodes(base);

    return size_of_nodes(path) >= size && __builtin_memcmp(path, base, size) == 0;
}

bool path_has_cdrom(const EFI_DEVICE_PATH *path)
{
    for (; !is_end(path); path = after(path))
        if (path->Type == MEDIA_DEVICE_PATH && path->SubType == MEDIA_CDROM_DP)
            return true;
    return false;
}
