#include "disk.h"

#include "firmware.h"

static EFI_GUID block_io_guid = EFI_BLOCK_IO_PROTOCOL_GUID;
static EFI_GUID device_path_guid = DEVICE_PATH_PROTOCOL;

/*
 * Reset the disk: there is nothing to do. UEFI 2.10 §13.9.2
 *
 * @v io        our disk
 * @v extended  whether to look closely
 * @ret         success
 */
static EFI_STATUS EFIAPI reset(EFI_BLOCK_IO *io, BOOLEAN extended)
{
    (void)io, (void)extended;
    return EFI_SUCCESS;
}

/*
 * Write all of it: it is in memory. UEFI 2.10 §13.9.5
 *
 * @v io  our disk
 * @ret   success
 */
static EFI_STATUS EFIAPI flush(EFI_BLOCK_IO *io)
{
    (void)io;
    return EFI_SUCCESS;
}

/*
 * Make the checks that UEFI 2.10 §13.9 wants of reading and writing.
 *
 * @v io        our disk
 * @v media_id  the medium that the caller means
 * @v lba       the first block
 * @v size      the number of bytes
 * @v buffer    the caller's bytes, which are not looked at
 * @v place     where the blocks lie in memory; left alone on failure
 * @ret         success, or which check failed
 */
static EFI_STATUS locate(EFI_BLOCK_IO *io, UINT32 media_id, EFI_LBA lba, UINTN size, void *buffer,
                         uint8_t **place)
{
    const struct disk *disk = (struct disk *)io;
    const EFI_BLOCK_IO_MEDIA *media = &disk->media;
    uint64_t blocks = size / media->BlockSize;

    if (media_id != media->MediaId)
        return EFI_MEDIA_CHANGED;
    if (size % media->BlockSize)
        return EFI_BAD_BUFFER_SIZE;
    if (lba > media->LastBlock || blocks > media->LastBlock - lba + 1 || (size && !buffer))
        return EFI_INVALID_PARAMETER;
    *place = disk->bytes + lba * media->BlockSize;
    return EFI_SUCCESS;
}

/*
 * Read blocks. UEFI 2.10 §13.9.3
 *
 * @v io        our disk
 * @v media_id  the medium that the caller means
 * @v lba       the first block
 * @v size      the number of bytes
 * @v buffer    where they go
 * @ret         success, or which check failed
 */
static EFI_STATUS EFIAPI read(EFI_BLOCK_IO *io, UINT32 media_id, EFI_LBA lba, UINTN size,
                              void *buffer)
{
    uint8_t *place;
    EFI_STATUS status = locate(io, media_id, lba, size, buffer, &place);

    if (!EFI_ERROR(status))
        __builtin_memcpy(buffer, place, size);
    return status;
}

/*
 * Write blocks, into memory. UEFI 2.10 §13.9.4
 *
 * @v io        our disk
 * @v media_id  the medium that the caller means
 * @v lba       the first block
 * @v size      the number of bytes
 * @v buffer    where they come from
 * @ret         success, or which check failed
 */
static EFI_STATUS EFIAPI write(EFI_BLOCK_IO *io, UINT32 media_id, EFI_LBA lba, UINTN size,
                               void *buffer)
{
    uint8_t *place;
    EFI_STATUS status = locate(io, media_id, lba, size, buffer, &place);

    if (!EFI_ERROR(status))
        __builtin_memcpy(place, buffer, size);
    return status;
}

EFI_STATUS publish_disk(struct disk *disk, uint8_t *bytes, uint64_t size, uint32_t block_size,
                        bool is_partition)
{
    if (size < block_size)
        return EFI_BAD_BUFFER_SIZE;
    disk->bytes = bytes;
    disk->media = (EFI_BLOCK_IO_MEDIA){
        .MediaPresent = TRUE,
        .LogicalPartition = is_partition,
        .BlockSize = block_size,
        .LastBlock = size / block_size - 1,
    };
    disk->io = (EFI_BLOCK_IO){
        .Revision = EFI_BLOCK_IO_PROTOCOL_REVISION,
        .Media = &disk->media,
        .Reset = reset,
        .ReadBlocks = read,
        .WriteBlocks = write,
        .FlushBlocks = flush,
    };
    disk->handle = NULL;
    /* UEFI 2.10 §7.3.17 */
    return services->InstallMultipleProtocolInterfaces(&disk->handle, &device_path_guid,
                                                       disk->path.bytes, &block_io_guid, &disk->io,
                                                       NULL);
}

EFI_STATUS withdraw_disk(struct disk *disk)
{
    if (!disk->handle)
        return EFI_SUCCESS;
    /* UEFI 2.10 §7.3.18: stops the drivers that use it as well. */
    EFI_STATUS status = services->UninstallMultipleProtocolInterfaces(
        disk->handle, &device_path_guid, disk->path.bytes, &block_io_guid, &disk->io, NULL);
    if (!EFI_ERROR(status))
        disk->handle = NULL;
    return status;
}
