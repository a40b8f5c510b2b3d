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

/*
 * Look for an ISO 9660 volume.
 *
 * @v disc  the disc
 * @ret     whether it has one
 */
bool iso_has_volume(const struct disc *disc);

/*
 * Find the FAT image that the El Torito boot catalog names for EFI machines.
 *
 * @v disc   the disc
 * @v image  where it lies; left alone on failure
 * @ret      whether there is one
 */
bool iso_find_efi_image(const struct disc *disc, struct extent *image);

/*
 * Find a file in the ISO 9660 volume. A file in several pieces is not found.
 *
 * @v disc  the disc
 * @v path  the file's path ("EFI/BOOT/BOOTX64.EFI"), in whatever case
 * @v file  where the file lies; undefined on failure
 * @ret     whether there is one
 */
bool iso_find_file(const struct disc *disc, const char *path, struct extent *file);

#endif
