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

/*
 * See our path as the firmware does.
 *
 * @v path  our path
 * @ret     the same path, which lasts as long
 */
EFI_DEVICE_PATH *path_of(struct path *path);

/*
 * Make a path that is another one and one node more.
 *
 * @v path  where it goes; undefined on failure
 * @v base  the other path; NULL for nothing
 * @v node  the node
 * @ret     whether there was room
 */
bool path_append(struct path *path, const EFI_DEVICE_PATH *base, const EFI_DEVICE_PATH *node);

/*
 * Make the path of a RAM disk.
 *
 * @v path   where it goes; undefined on failure
 * @v start  where the RAM disk lies in memory
 * @v size   its size in bytes
 * @v type   what it is
 * @ret      whether there was room
 */
bool path_append_ram_disk(struct path *path, uint64_t start, uint64_t size, const EFI_GUID *type);

/*
 * Make the path of an El Torito image.
 *
 * @v path        where it goes; undefined on failure
 * @v base        the path of the disc
 * @v start       where the image begins on the disc
 * @v size        its size in bytes
 * @v block_size  the size of the disc's blocks in bytes
 * @ret           whether there was room
 */
bool path_append_cdrom(struct path *path, const EFI_DEVICE_PATH *base, uint64_t start,
                       uint64_t size, uint32_t block_size);

/*
 * Make the path of a file.
 *
 * @v path  where it goes; undefined on failure
 * @v base  the path of its volume
 * @v name  the file's path there, with backslashes
 * @ret     whether there was room
 */
bool path_append_file(struct path *path, const EFI_DEVICE_PATH *base, const char *name);

/*
 * Tell what lies on a device.
 *
 * @v path  a path
 * @v base  the device's path
 * @ret     whether all of `base` is the beginning of `path`
 */
bool path_begins_with(const EFI_DEVICE_PATH *path, const EFI_DEVICE_PATH *base);

/*
 * Tell what lies in an El Torito image.
 *
 * @v path  a path
 * @ret     whether it leads through one
 */
bool path_has_cdrom(const EFI_DEVICE_PATH *path);

#endif
