/* The image as a RAM disk, for the firmware and for the operating system. */
#ifndef RAM_DISK_H
#define RAM_DISK_H

#include "acpi.h"
#include "disk.h"
#include "memory.h"

struct ram_disk {
    EFI_HANDLE handle;
    EFI_DEVICE_PATH *path; /* NULL when it is not published */
    struct ram_disk_protocol *firmware; /* whose disk it is, or NULL: ours */
    struct disk own;
    UINTN nfit_key; /* of our ACPI tables; 0 when not installed */
    UINTN ssdt_key;
};

/*
 * Publish the image: by the firmware's RAM disk protocol, or where there is none by ourselves; says
 * what went wrong.
 *
 * @v disk   the RAM disk, all zero at first; must stay where it is, and is to be withdrawn in any
 *           case
 * @v image  the image, whose memory must stay as long
 * @v own    whether to publish it by ourselves in any case
 * @ret      success, or what failed
 */
EFI_STATUS publish_ram_disk(struct ram_disk *disk, const struct image *image, bool own);

/*
 * Take back what was published.
 *
 * @v disk  the RAM disk
 * @ret     success, or what failed first; the image's memory is still in use then
 */
EFI_STATUS withdraw_ram_disk(struct ram_disk *disk);

#endif
