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
 * Publish `size` bytes under `disk->path`, which is to be filled in before. The disk must stay
 * where it is until it is withdrawn.
 */
EFI_STATUS publish_disk(struct disk *disk, uint8_t *bytes, uint64_t size, uint32_t block_size,
                        bool is_partition);

/* Withdraw it, if it is published. While that fails its memory is still in use. */
EFI_STATUS withdraw_disk(struct disk *disk);

#endif
