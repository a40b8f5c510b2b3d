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

/*
 * Read our command line; says what is wrong with it.
 *
 * @v options  the options; undefined on failure
 * @ret        success, or what failed
 */
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
    trace("url=%s size=%lu, %s SHA-256, %s disk", options->url, options->size_bytes,
          options->has_sha256 ? "a" : "no", options->own_disk ? "our own" : "any");
    return EFI_SUCCESS;
}

/*
 * Boot from one kind of RAM disk.
 *
 * @v own      whether the disk must be our own
 * @v options  the command line
 * @v image    the image; all zero afterwards where the firmware still uses its memory
 * @v found    whether a boot file could be found on the disk
 * @ret        an error, since a boot does not come back
 */
static EFI_STATUS boot_as(bool own, const struct options *options, struct image *image, bool *found)
{
    struct ram_disk disk = {.path = NULL};

    *found = true;
    EFI_STATUS status = publish_ram_disk(&disk, image, own);
    if (!EFI_ERROR(status))
        status = boot(&disk, image, options, found);
    EFI_STATUS withdrawn = withdraw_ram_disk(&disk);
    if (EFI_ERROR(withdrawn)) {
        say("the RAM disk is still in use, and keeps its memory: %s", words_for(withdrawn));
        *image = (struct image){.bytes = NULL};
    }
    return status;
}

/*
 * Boot the image, which is given back to the firmware when that fails.
 *
 * @v options  the command line
 * @v image    the image, all zero afterwards
 * @ret        an error, since a boot does not come back
 */
static EFI_STATUS boot_from_memory(const struct options *options, struct image *image)
{
    bool found;

    EFI_STATUS status = boot_as(options->own_disk, options, image, &found);
    /* The firmware's RAM disks have sectors of 512 bytes. On such EDK2 finds no UDF, on ours it
     * does. */
    if (!found && !options->own_disk && image->bytes)
        status = boot_as(true, options, image, &found);
    if (!found)
        say("the image has no boot file for x86-64 UEFI (" BOOT_FILE ")");
    release_memory(image);
    return status;
}

/*
 * The entry point, which efi.lds names. UEFI 2.10 §4.1
 *
 * @v image_handle  our own handle
 * @v system_table  the firmware's tables
 * @ret             an error, since a boot does not come back
 */
EFI_STATUS EFIAPI efi_main(EFI_HANDLE image_handle, EFI_SYSTEM_TABLE *system_table)
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
