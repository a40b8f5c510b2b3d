/*
 * ramdisk.efi: boots an ISO from memory on UEFI machines.
 *
 * iPXE starts it:  imgexec http://SERVER/nbp/ramdisk.efi url=/b/KEY/image.iso sha256=HEX
 *
 * The states, each with what it keeps and how it fails:
 *
 *   options    the command line. A wrong word ends it.
 *   download   We speak first, through iPXE's download protocol. The server's size comes before
 *              any byte: only then the memory is reserved. Fails: no iPXE, another size, too
 *              little memory in one piece; bytes out of order, a minute without one; a wrong
 *              SHA-256. The memory is then free again.
 *   published  the image as a RAM disk: the firmware's, or one of our own. Fails: the firmware
 *              takes no disk. A machine with an NFIT of its own gets none from us: its operating
 *              system does not find the image.
 *   found      the boot file, loaded: from the disk's file systems, El Torito's first, then from
 *              what the firmware overlooks. Fails: there is none, or Secure Boot refuses it. If
 *              the firmware's disk has none, a disk of our own is published in its place, once.
 *   started    The server is told first (notify=). If it does not answer within five seconds, the
 *              boot goes on. A boot does not come back.
 *
 * Kept until the machine is switched off: the image's memory (type "reserved"), and the tables that
 * name it to the operating system. Each failure says why, takes back what came before,
 * and returns an error to iPXE's script, which tries again. Only a disk that the firmware does not
 * let go of keeps its memory.
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
