/* The image's own boot file, found and started. */
#ifndef BOOT_H
#define BOOT_H

#include "options.h"
#include "ram_disk.h"

/*
 * Start \EFI\BOOT\BOOTX64.EFI of the RAM disk. Comes back only when that failed, or the boot file
 * itself came back; says so.
 */
EFI_STATUS boot(const struct ram_disk *disk, const struct image *image,
                const struct options *options);

#endif
