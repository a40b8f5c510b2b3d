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
 * Reserve memory for an image of `size` bytes, in one piece on a 2 MiB boundary, which an operating
 * system will not touch.
 */
EFI_STATUS reserve_memory(uint64_t size, struct image *image);

/* Give it back, if there is any. */
void release_memory(struct image *image);

/* The size of the largest piece of free memory, 0 when it is not known. */
uint64_t largest_free_memory(void);

#endif
