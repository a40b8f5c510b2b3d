/*
 * ramdisk.efi: boots an ISO from memory on UEFI machines.
 *
 * iPXE starts it:  imgexec http://SERVER/nbp/ramdisk.efi url=/b/KEY/image.iso sha256=HEX
 *
 * It streams the image into reserved memory, checks it, publishes it as a RAM disk that the
 * operating system can find again, and starts the image's own boot file. When something fails it
 * says so, takes everything back, and returns an error to iPXE's script.
 */

#include "boot.h"
#include "download.h"
#include "firmware.h"

static EFI_STATUS read_options(struct options *options)
{
    EFI_GUID loaded_image_guid = LOADED_IMAGE_PROTOCOL;
    EFI_LOADED_IMAGE *loaded;
    char problem[PROBLEM_MAX];

    /* UEFI 2.10 §9.1 */
    EFI_STATUS status =
        services->HandleProtocol(our_image, &loaded_image_guid, (void **)&loaded);
    if (EFI_ERROR(status))
        return status;
    if (!parse_options(loaded->LoadOptions, loaded->LoadOptionsSize / sizeof(CHAR16), options,
                       problem)) {
        say("%s", problem);
        return EFI_INVALID_PARAMETER;
    }
    return EFI_SUCCESS;
}

static EFI_STATUS boot_from_memory(const struct options *options, struct image *image)
{
    struct ram_disk disk = {.path = NULL};

    EFI_STATUS status = publish_ram_disk(&disk, image, options->own_disk);
    if (!EFI_ERROR(status))
        status = boot(&disk, image, options);
    EFI_STATUS withdrawn = withdraw_ram_disk(&disk);
    if (EFI_ERROR(withdrawn)) {
        say("the RAM disk is still in use, and keeps its memory: %s", words_for(withdrawn));
        return status;
    }
    release_memory(image);
    return status;
}

EFI_STATUS efi_main(EFI_HANDLE image_handle, EFI_SYSTEM_TABLE *system_table)
{
    static struct options options;
    struct image image = {.bytes = NULL};

    meet_firmware(image_handle, system_table);
    EFI_STATUS status = read_options(&options);
    if (!EFI_ERROR(status))
        status = download_image(&options, &image);
    if (!EFI_ERROR(status))
        status = boot_from_memory(&options, &image);
    return status;
}
