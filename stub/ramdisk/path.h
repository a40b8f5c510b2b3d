/* Device paths: UEFI 2.10 §10. */
#ifndef PATH_H
#define PATH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "efi_types.h"

enum { PATH_MAX = 512 }; /* bytes; ours have about 150 */

/* A device path of our own making. */
struct path {
    uint8_t bytes[PATH_MAX] __attribute__((aligned(8)));
};

EFI_DEVICE_PATH *path_of(struct path *path);

/* Make a path that is `base` (NULL for nothing) and one node more; false if it is too long. */
bool path_append(struct path *path, const EFI_DEVICE_PATH *base, const EFI_DEVICE_PATH *node);

/* The same with a node for each of these. */
bool path_append_ram_disk(struct path *path, uint64_t start, uint64_t size, const EFI_GUID *type);
bool path_append_cdrom(struct path *path, const EFI_DEVICE_PATH *base, uint64_t start,
                       uint64_t size, uint32_t block_size);
bool path_append_file(struct path *path, const EFI_DEVICE_PATH *base, const char *name);

bool path_begins_with(const EFI_DEVICE_PATH *path, const EFI_DEVICE_PATH *base);
bool path_has_cdrom(const EFI_DEVICE_PATH *path);

#endif
