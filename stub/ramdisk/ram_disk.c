#include "ram_disk.h"

#include "firmware.h"
#include "iso.h"

enum { DISK_SECTOR = 512 };

static EFI_GUID acpi_table_protocol_guid = ACPI_TABLE_PROTOCOL_GUID;

/*
 * Publish the image by the firmware's RAM disk protocol. UEFI 2.10 §13.17.2
 *
 * @v disk   the RAM disk, with that protocol; has a path where there is something to withdraw
 * @v image  the image, whose memory must stay
 * @v type   what it is
 * @ret      success, or what failed
 */
static EFI_STATUS publish_by_firmware(struct ram_disk *disk, const struct image *image,
                                      EFI_GUID *type)
{
    EFI_GUID block_io_guid = EFI_BLOCK_IO_PROTOCOL_GUID;

    /* UEFI 2.10 §13.17.2 */
    EFI_STATUS status = disk->firmware->Register((uint64_t)image->bytes, image->reserved_size,
                                                 type, NULL, &disk->path);
    if (EFI_ERROR(status)) {
        disk->path = NULL;
        return status;
    }
    EFI_DEVICE_PATH *rest = disk->path;
    return services->LocateDevicePath(&block_io_guid, &rest, &disk->handle); /* §7.3.9 */
}

/*
 * Publish the image by a disk of our own.
 *
 * @v disk        the RAM disk, which must stay where it is
 * @v image       the image, whose memory must stay
 * @v type        what it is
 * @v block_size  the size of the disk's blocks in bytes
 * @ret           success, or what failed
 */
static EFI_STATUS publish_ourselves(struct ram_disk *disk, const struct image *image,
                                    const EFI_GUID *type, uint32_t block_size)
{
    if (!path_append_ram_disk(&disk->own.path, (uint64_t)image->bytes, image->reserved_size, type))
        return EFI_BUFFER_TOO_SMALL;
    EFI_STATUS status =
        publish_disk(&disk->own, image->bytes, image->reserved_size, block_size, false);
    if (EFI_ERROR(status))
        return status;
    disk->handle = disk->own.handle;
    disk->path = path_of(&disk->own.path);
    return EFI_SUCCESS;
}

/*
 * Find the machine's NFIT. UEFI 2.10 §4.6.1: the RSDP is among the configuration tables.
 *
 * @ret  the table, which is the firmware's; NULL if there is none
 */
static const uint8_t *find_nfit(void)
{
    EFI_GUID acpi_guid = ACPI_20_TABLE_GUID;
    const uint8_t *rsdp = NULL;

    for (UINTN i = 0; i < systab->NumberOfTableEntries; i++)
        if (__builtin_memcmp(&systab->ConfigurationTable[i].VendorGuid, &acpi_guid,
                             sizeof acpi_guid) == 0)
            rsdp = systab->ConfigurationTable[i].VendorTable;
    if (!rsdp)
        return NULL;

    /* ACPI 6.5 §5.2.5.3: the XSDT's address is at 24; §5.2.8: it is a list of addresses. */
    const uint8_t *xsdt, *table;
    __builtin_memcpy(&xsdt, rsdp + 24, sizeof xsdt);
    if (!xsdt)
        return NULL;
    for (uint32_t at = 36; at + sizeof table <= acpi_table_size(xsdt); at += sizeof table) {
        __builtin_memcpy(&table, xsdt + at, sizeof table);
        if (table && __builtin_memcmp(table, "NFIT", 4) == 0)
            return table;
    }
    return NULL;
}

/*
 * Install ACPI tables that name the RAM disk. The firmware copies them.
 *
 * @v disk   the RAM disk; keeps the tables' keys
 * @v image  the image
 * @v type   what it is
 * @ret      success, or what failed
 */
static EFI_STATUS install_tables(struct ram_disk *disk, const struct image *image,
                                 const EFI_GUID *type)
{
    struct acpi_table_protocol *acpi;
    uint8_t nfit[NFIT_SIZE], ssdt[SSDT_SIZE];

    EFI_STATUS status =
        services->LocateProtocol(&acpi_table_protocol_guid, NULL, (void **)&acpi); /* §7.3.16 */
    if (EFI_ERROR(status))
        return status;
    acpi_make_nfit(nfit, (uint64_t)image->bytes, image->reserved_size, (const uint8_t *)type);
    acpi_make_ssdt(ssdt);
    status = acpi->Install(acpi, nfit, sizeof nfit, &disk->nfit_key); /* UEFI 2.10 §20.2 */
    if (EFI_ERROR(status)) {
        disk->nfit_key = 0;
        return status;
    }
    status = acpi->Install(acpi, ssdt, sizeof ssdt, &disk->ssdt_key);
    if (EFI_ERROR(status))
        disk->ssdt_key = 0;
    return status;
}

/*
 * Tell the operating system of the disk. Failing is no end: many need it only while they start.
 *
 * @v disk   the RAM disk
 * @v image  the image
 * @v type   what it is
 */
static void tell_system(struct ram_disk *disk, const struct image *image, const EFI_GUID *type)
{
    const uint8_t *nfit = find_nfit();

    /* Not all firmware with RAM disks does this for them. */
    if (nfit && acpi_nfit_has(nfit, (uint64_t)image->bytes, image->reserved_size))
        return;
    if (nfit) {
        say("this machine has persistent memory of its own: the system will not see the image");
        return;
    }
    EFI_STATUS status = install_tables(disk, image, type);
    trace("our ACPI tables name the image: %s", words_for(status));
    if (EFI_ERROR(status))
        say("the system will not see the image, for ACPI takes no table: %s", words_for(status));
}

EFI_STATUS publish_ram_disk(struct ram_disk *disk, const struct image *image, bool own)
{
    EFI_GUID ram_disk_guid = RAM_DISK_PROTOCOL_GUID;
    EFI_GUID cd_guid = VIRTUAL_CD_GUID, disk_guid = VIRTUAL_DISK_GUID;
    const struct disc disc = {image->bytes, image->size};
    bool is_cd = iso_has_volume(&disc);
    EFI_GUID *type = is_cd ? &cd_guid : &disk_guid;
    EFI_STATUS status = EFI_NOT_FOUND;

    if (!own)
        status = services->LocateProtocol(&ram_disk_guid, NULL, (void **)&disk->firmware);
    if (!EFI_ERROR(status)) {
        status = publish_by_firmware(disk, image, type);
    } else {
        disk->firmware = NULL;
        status = publish_ourselves(disk, image, type, is_cd ? CD_SECTOR : DISK_SECTOR);
    }
    if (EFI_ERROR(status)) {
        say("the firmware takes no RAM disk: %s", words_for(status));
        return status;
    }
    trace("the image is %s's %s", disk->firmware ? "the firmware" : "this program",
          is_cd ? "CD" : "disk");
    tell_system(disk, image, type);
    return EFI_SUCCESS;
}

/*
 * Take an ACPI table back, if it is installed.
 *
 * @v key  the table's key; 0 afterwards
 * @ret    success, or what failed
 */
static EFI_STATUS withdraw_table(UINTN *key)
{
    struct acpi_table_protocol *acpi;

    if (!*key)
        return EFI_SUCCESS;
    EFI_STATUS status =
        services->LocateProtocol(&acpi_table_protocol_guid, NULL, (void **)&acpi);
    if (!EFI_ERROR(status))
        status = acpi->Uninstall(acpi, *key); /* UEFI 2.10 §20.2 */
    if (!EFI_ERROR(status))
        *key = 0;
    return status;
}

EFI_STATUS withdraw_ram_disk(struct ram_disk *disk)
{
    EFI_STATUS first = EFI_SUCCESS;

    EFI_STATUS status = withdraw_table(&disk->ssdt_key);
    if (EFI_ERROR(status))
        first = status;
    status = withdraw_table(&disk->nfit_key);
    if (EFI_ERROR(status) && !EFI_ERROR(first))
        first = status;
    if (disk->firmware && disk->path)
        status = disk->firmware->Unregister(disk->path); /* UEFI 2.10 §13.17.3 */
    else
        status = withdraw_disk(&disk->own);
    if (EFI_ERROR(status) && !EFI_ERROR(first))
        first = status;
    return first;
}
