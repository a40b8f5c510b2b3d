/* What lies where on a disc: enough of ISO 9660 and El Torito to find the EFI boot file. Pure. */
#ifndef ISO_H
#define ISO_H

#include <stdbool.h>
#include <stdint.h>

enum { CD_SECTOR = 2048 };

/* A disc in memory. Nothing in it is trusted: no function here reads beyond it, or forever. */
struct disc {
    const uint8_t *bytes;
    uint64_t size;
};

/* A piece of a disc, in bytes; always within it, and never empty. */
struct extent {
    uint64_t start;
    uint64_t size;
};

/* Whether the disc has an ISO 9660 volume. */
bool iso_has_volume(const struct disc *disc);

/* Find the FAT image that the El Torito boot catalog names for EFI machines. */
bool iso_find_efi_image(const struct disc *disc, struct extent *image);

/*
 * Find a file in the ISO 9660 volume by its path ("EFI/BOOT/BOOTX64.EFI"), in whatever case.
 * A file in several pieces is not found.
 */
bool iso_find_file(const struct disc *disc, const char *path, struct extent *file);

#endif
