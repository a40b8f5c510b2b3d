/* The image's own boot file, found and started. */
#ifndef BOOT_H
#define BOOT_H

#include "options.h"
#include "ram_disk.h"

#define BOOT_FILE "\\EFI\\BOOT\\BOOTX64.EFI" /* UEFI 2.10 §3.5.1.1, x64 */

/*
 * Start the boot file of the RAM disk. Comes back only if that failed, or the boot file came
 * back. Says so, but for a disk without a boot file.
 *
 * @v disk     the RAM disk, published
 * @v image    its content
 * @v options  the command line
 * @v found    whether the disk has a boot file
 * @ret        an error, since a boot does not come back
 */
EFI_STATUS boot(const struct ram_disk *disk, const struct image *image,
                const struct options *options, bool *found);

#endif
