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
 * Publish the image: by the firmware's RAM disk protocol, or where there is none, or with `own`,
 * by ourselves. Says what went wrong. Withdraw it in any case.
 */
EFI_STATUS publish_ram_disk(struct ram_disk *disk, const struct image *image, bool own);

/* Take back what was published. While that fails the image's memory is still in use. */
EFI_STATUS withdraw_ram_disk(struct ram_disk *disk);

#endif
