/* The memory that the image lies in. */
#ifndef MEMORY_H
#define MEMORY_H

#include <stdint.h>

#include "efi_types.h"

enum { PAGE_SIZE = 4096 };

/* The image: a file of `size` bytes, in memory of whole pages. All zero before it is there. */
struct image {
    uint8_t *bytes;
    uint64_t size;
    uint64_t reserved_size;
};

/*
 * Reserve memory for an image, in one piece on a 2 MiB boundary, which an operating system will not
 * touch.
 *
 * @v size   the image's size in bytes
 * @v image  the memory, which the caller gives back with release_memory(); left alone on failure
 * @ret      success, or what failed
 */
EFI_STATUS reserve_memory(uint64_t size, struct image *image);

/*
 * Give the memory of an image back, if it has any.
 *
 * @v image  the image, all zero afterwards
 */
void release_memory(struct image *image);

/*
 * Look for the largest piece of free memory.
 *
 * @ret  its size in bytes; 0 when that is not known
 */
uint64_t largest_free_memory(void);

#endif
