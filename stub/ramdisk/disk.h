/* A piece of memory as a disk of our own: Block I/O, UEFI 2.10 §13.9. */
#ifndef DISK_H
#define DISK_H

#include "path.h"

struct disk {
    EFI_BLOCK_IO io; /* first: the firmware hands us this */
    EFI_BLOCK_IO_MEDIA media;
    uint8_t *bytes;
    struct path path;
    EFI_HANDLE handle; /* NULL when it is not published */
};

/*
 * Publish memory as a disk.
 *
 * @v disk          the disk, with its path filled in; must stay where it is until it is withdrawn
 * @v bytes         the memory, which must stay as long
 * @v size          its size in bytes
 * @v block_size    the size of a block in bytes
 * @v is_partition  whether it is a part of another disk
 * @ret             success, or what failed; the disk is not published then
 */
EFI_STATUS publish_disk(struct disk *disk, uint8_t *bytes, uint64_t size, uint32_t block_size,
                        bool is_partition);

/*
 * Withdraw a disk, if it is published.
 *
 * @v disk  the disk
 * @ret     success, or what failed; the disk's memory is still in use then
 */
EFI_STATUS withdraw_disk(struct disk *disk);

#endif
