#include "boot.h"

#include "download.h"
#include "firmware.h"
#include "iso.h"

/* As some discs spell it; EDK2 minds the case in UDF, though not in FAT. */
#define BOOT_FILE_IN_LOWER_CASE "\\efi\\boot\\bootx64.efi"
#define BOOT_FILE_IN_ISO "EFI/BOOT/BOOTX64.EFI"

/* What stands at LoadImage's end: which image, if any, and whether it may be started. */
struct loaded {
    EFI_HANDLE image;
    EFI_STATUS status;
};

/*
 * Let the firmware's drivers look at a disk: partitions, FAT, UDF.
 *
 * @v handle  the disk's
 */
static void connect(EFI_HANDLE handle)
{
    EFI_STATUS status = services->ConnectController(handle, NULL, NULL, TRUE); /* §7.3.12 */

    /* "Not found" is no driver for it, which is no news: we look for files next. */
    if (EFI_ERROR(status) && status != EFI_NOT_FOUND)
        say("the firmware's drivers do not take the image: %s", words_for(status));
}

/*
 * Load a program. UEFI 2.10 §7.4.1
 *
 * @v path   its device path
 * @v bytes  the program, which the firmware copies; NULL lets the firmware read the path's file
 * @v size   the program's size in bytes; 0 with NULL
 * @ret      the image, to be started or unloaded, and how that went
 */
static struct loaded load(EFI_DEVICE_PATH *path, void *bytes, UINTN size)
{
    struct loaded loaded = {NULL, EFI_SUCCESS};

    loaded.status = services->LoadImage(FALSE, our_image, path, bytes, size, &loaded.image);
    if (EFI_ERROR(loaded.status) && loaded.status != EFI_SECURITY_VIOLATION)
        loaded.image = NULL;
    trace("loading the boot file %s: %s", bytes ? "from memory" : "by the firmware",
          words_for(loaded.status));
    return loaded;
}

/*
 * Tell a file that is not there from one that cannot be loaded.
 *
 * @v status  how loading it went
 * @ret       whether there is none
 */
static bool is_missing(EFI_STATUS status)
{
    return status == EFI_NOT_FOUND || status == EFI_NO_MEDIA || status == EFI_VOLUME_CORRUPTED;
}

/*
 * Look for the boot file in one file system.
 *
 * @v file_system  the file system's handle
 * @v disk         the path of the disk that it must lie on
 * @v want_cdrom   whether the file system must be El Torito's, or must not
 * @ret            as load(); "not found" when it is not of this disk, or has no boot file
 */
static struct loaded load_from(EFI_HANDLE file_system, EFI_DEVICE_PATH *disk, bool want_cdrom)
{
    EFI_GUID device_path_guid = DEVICE_PATH_PROTOCOL;
    struct loaded none = {NULL, EFI_NOT_FOUND};
    EFI_DEVICE_PATH *path;
    struct path file;

    if (EFI_ERROR(services->HandleProtocol(file_system, &device_path_guid, (void **)&path)))
        return none;
    if (!path_begins_with(path, disk) || path_has_cdrom(path) != want_cdrom)
        return none;
    if (!path_append_file(&file, path, BOOT_FILE))
        return none;
    struct loaded loaded = load(path_of(&file), NULL, 0);
    if (is_missing(loaded.status) && path_append_file(&file, path, BOOT_FILE_IN_LOWER_CASE))
        loaded = load(path_of(&file), NULL, 0);
    return loaded;
}

/*
 * Look for the boot file in all file systems of a disk: first in El Torito's, as firmware does with
 * a CD.
 *
 * @v disk  the disk's path
 * @ret     as load()
 */
static struct loaded load_from_file_systems(EFI_DEVICE_PATH *disk)
{
    EFI_GUID file_system_guid = SIMPLE_FILE_SYSTEM_PROTOCOL;
    struct loaded loaded = {NULL, EFI_NOT_FOUND};
    EFI_HANDLE *handles;
    UINTN count;

    /* UEFI 2.10 §7.3.15 */
    if (EFI_ERROR(services->LocateHandleBuffer(ByProtocol, &file_system_guid, NULL, &count,
                                               &handles)))
        return loaded;
    trace("%lu file systems to look in", count);
    for (unsigned pass = 0; pass < 2; pass++)
        for (UINTN i = 0; i < count && is_missing(loaded.status); i++)
            loaded = load_from(handles[i], disk, pass == 0);
    EFI_STATUS status = services->FreePool(handles);
    if (EFI_ERROR(status))
        say("memory could not be freed: %s", words_for(status));
    return loaded;
}

/*
 * Look in an El Torito image that the firmware overlooks, as it does beside a GPT.
 *
 * @v disk   the RAM disk
 * @v disc   its content
 * @v child  where the image's own disk is kept while it is published; the caller withdraws it
 * @ret      as load()
 */
static struct loaded load_from_efi_image(const struct ram_disk *disk, const struct disc *disc,
                                         struct disk *child)
{
    struct loaded none = {NULL, EFI_NOT_FOUND};
    struct extent extent;

    if (!iso_find_efi_image(disc, &extent) ||
        !path_append_cdrom(&child->path, disk->path, extent.start, extent.size, CD_SECTOR))
        return none;
    EFI_STATUS status =
        publish_disk(child, (uint8_t *)disc->bytes + extent.start, extent.size, 512, true);
    if (status == EFI_ALREADY_STARTED) /* by the firmware, and it has been looked into */
        return none;
    if (EFI_ERROR(status)) {
        say("the firmware takes no disk for the image's EFI part: %s", words_for(status));
        return none;
    }
    connect(child->handle);
    return load_from_file_systems(path_of(&child->path));
}

/*
 * Look in ISO 9660, for which most firmware has no driver.
 *
 * @v disk  the RAM disk
 * @v disc  its content
 * @ret     as load()
 */
static struct loaded load_from_iso(const struct ram_disk *disk, const struct disc *disc)
{
    struct loaded none = {NULL, EFI_NOT_FOUND};
    struct extent extent;
    struct path file;

    if (!iso_find_file(disc, BOOT_FILE_IN_ISO, &extent) ||
        !path_append_file(&file, disk->path, BOOT_FILE))
        return none;
    return load(path_of(&file), (uint8_t *)disc->bytes + extent.start, extent.size);
}

/*
 * Start what was loaded, after telling the server. UEFI 2.10 §7.4.2
 *
 * @v loaded   the image, which is unloaded once it comes back
 * @v options  the command line: whom to notify
 * @ret        an error, since a boot does not come back
 */
static EFI_STATUS start(const struct loaded *loaded, const struct options *options)
{
    if (options->notify[0])
        notify(options->notify);
    say("starting the image");

    /* UEFI 2.10 §7.5: a person who waits in a boot menu is not to see a reset. */
    EFI_STATUS status = services->SetWatchdogTimer(0, 0, 0, NULL);
    if (EFI_ERROR(status) && status != EFI_UNSUPPORTED)
        say("the watchdog stays on: %s", words_for(status));

    status = services->StartImage(loaded->image, NULL, NULL); /* §7.4.2 */
    say("the image's boot file came back: %s",
        EFI_ERROR(status) ? words_for(status) : "it was left");
    return EFI_ERROR(status) ? status : EFI_ABORTED;
}

/*
 * Say why the boot file cannot be loaded, and unload what was.
 *
 * @v loaded  how loading went
 */
static void refuse(const struct loaded *loaded)
{
    if (loaded->status == EFI_SECURITY_VIOLATION || loaded->status == EFI_ACCESS_DENIED)
        say("Secure Boot refuses the image's boot file (%s): sign it with a key of this machine, "
            "or turn Secure Boot off",
            words_for(loaded->status));
    else
        say("the image's boot file cannot be loaded: %s", words_for(loaded->status));
    if (loaded->image) { /* loaded, but not to be trusted */
        EFI_STATUS status = services->UnloadImage(loaded->image); /* §7.4.3 */
        if (EFI_ERROR(status))
            say("it could not be unloaded: %s", words_for(status));
    }
}

EFI_STATUS boot(const struct ram_disk *disk, const struct image *image,
                const struct options *options, bool *found)
{
    const struct disc disc = {image->bytes, image->size};
    struct disk child = {.handle = NULL};

    connect(disk->handle);
    struct loaded loaded = load_from_file_systems(disk->path);
    if (is_missing(loaded.status))
        loaded = load_from_efi_image(disk, &disc, &child);
    if (is_missing(loaded.status))
        loaded = load_from_iso(disk, &disc);

    EFI_STATUS status = loaded.status;
    *found = !is_missing(status);
    if (!EFI_ERROR(status))
        status = start(&loaded, options);
    else if (*found)
        refuse(&loaded);
    EFI_STATUS withdrawn = withdraw_disk(&child);
    if (EFI_ERROR(withdrawn))
        say("the image's EFI part is still in use: %s", words_for(withdrawn));
    return status;
}
