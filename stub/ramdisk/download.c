#include "download.h"

#include <stdbool.h>

#include "firmware.h"
#include "format.h"
#include "progress.h"

enum {
    DRAW_EVERY_MS = 300,
    IMAGE_PATIENCE_MS = 60000, /* without a byte */
    NOTIFY_PATIENCE_MS = 5000,
};

/* A download that goes on; what its two users have in common. */
struct transfer {
    uint64_t heard_ms; /* when something came last */
    bool finished;
    EFI_STATUS status; /* once finished */
};

struct image_transfer {
    struct transfer transfer; /* first: the finish callback sees only this */
    const struct options *options;
    struct image *image;
    struct sha256 hash;
    uint64_t received;
    uint64_t started_ms;
    uint64_t drawn_ms; /* when the progress line was drawn last */
    char refusal[PROBLEM_MAX]; /* why we ended it ourselves, or "" */
};

/*
 * Note that a download has ended: iPXE calls this.
 *
 * @v context  the struct transfer
 * @v status   how it ended, by iPXE
 */
static void EFIAPI finish(void *context, EFI_STATUS status)
{
    struct transfer *transfer = context;

    transfer->finished = true;
    /* iPXE's network errors lack the bit that makes a status an error. */
    transfer->status = status ? status | EFI_ERROR_MASK : EFI_SUCCESS;
}

/*
 * Find the download protocol of the iPXE that has started us.
 *
 * @v ipxe  the protocol, which is iPXE's; undefined on failure
 * @ret     success, or what failed
 */
static EFI_STATUS find_ipxe(struct ipxe_download_protocol **ipxe)
{
    EFI_GUID loaded_image_guid = LOADED_IMAGE_PROTOCOL;
    EFI_GUID download_guid = IPXE_DOWNLOAD_PROTOCOL_GUID;
    EFI_LOADED_IMAGE *loaded;

    /* UEFI 2.10 §9.1: who loaded us, and §7.3.7: what lies on the network card it did so from. */
    EFI_STATUS status =
        services->HandleProtocol(our_image, &loaded_image_guid, (void **)&loaded);
    if (EFI_ERROR(status))
        return status;
    return services->HandleProtocol(loaded->DeviceHandle, &download_guid, (void **)ipxe);
}

/*
 * Download until it is finished.
 *
 * @v url          what to download
 * @v take         what takes the bytes; it gets `transfer` as its context
 * @v transfer     the download, all zero at first; what it is part of is the caller's
 * @v patience_ms  how long it may stand still
 * @v tick         called over and over; NULL for nothing
 * @ret            success, or what failed
 */
static EFI_STATUS run(const char *url, ipxe_data take, struct transfer *transfer,
                      uint64_t patience_ms, void (*tick)(struct transfer *))
{
    struct ipxe_download_protocol *ipxe;
    void *file;

    EFI_STATUS status = find_ipxe(&ipxe);
    if (EFI_ERROR(status)) {
        say("this program works only when iPXE starts it over the network");
        return status;
    }
    trace("downloading %s", url);
    transfer->heard_ms = clock_ms();
    status = ipxe->Start(ipxe, (CHAR8 *)url, take, finish, transfer, &file);
    if (EFI_ERROR(status))
        return status;
    while (!transfer->finished) {
        status = ipxe->Poll(ipxe);
        if (!transfer->finished && !EFI_ERROR(status) &&
            clock_ms() - transfer->heard_ms > patience_ms)
            status = EFI_TIMEOUT;
        if (!transfer->finished && EFI_ERROR(status)) {
            EFI_STATUS aborted = ipxe->Abort(ipxe, file, status); /* calls `finish` */
            return EFI_ERROR(aborted) ? aborted : status;
        }
        if (tick)
            tick(transfer);
    }
    trace("the download has ended: %s", words_for(transfer->status));
    return transfer->status;
}

/*
 * Reserve memory for the image, now that its size is known.
 *
 * @v transfer  the download; has a refusal on failure
 * @v size      the image's size in bytes, by the server
 * @ret         success, or what failed
 */
static EFI_STATUS make_room(struct image_transfer *transfer, uint64_t size)
{
    uint64_t wanted = transfer->options->size_bytes;

    if (wanted && size != wanted) {
        format(transfer->refusal, PROBLEM_MAX, "the image has %lu bytes, and should have %lu", size,
               wanted);
        return EFI_BAD_BUFFER_SIZE;
    }
    EFI_STATUS status = reserve_memory(size, transfer->image);
    if (EFI_ERROR(status))
        format(transfer->refusal, PROBLEM_MAX,
               "too little memory: the image needs %lu MiB in one piece, and the largest that is "
               "free has %lu MiB",
               (size >> 20) + 1, largest_free_memory() >> 20);
    return status;
}

/*
 * Take a piece of the image: iPXE calls this.
 *
 * @v context  the struct image_transfer
 * @v bytes    the piece, which is iPXE's
 * @v length   its size; 0 for a hint
 * @v offset   its place in the image; in a hint, the image's size
 * @ret        success; any error ends the download
 */
static EFI_STATUS EFIAPI take_image(void *context, void *bytes, UINTN length, UINTN offset)
{
    struct image_transfer *transfer = context;
    struct image *image = transfer->image;

    transfer->transfer.heard_ms = clock_ms();
    if (transfer->refusal[0]) /* iPXE goes on after a hint, whatever we say to it */
        return EFI_ABORTED;
    if (!length && offset && !image->bytes)
        return make_room(transfer, offset);
    /* Without Content-Length there is no hint, or one for each piece of the chunked encoding. */
    if (length ? !image->bytes : offset > image->size) {
        format(transfer->refusal, PROBLEM_MAX,
               "the server does not say how long the image is (no Content-Length)");
        return EFI_PROTOCOL_ERROR;
    }
    if (!length)
        return EFI_SUCCESS;
    if (offset != transfer->received || length > image->size - offset) {
        format(transfer->refusal, PROBLEM_MAX, "the image does not come in order, or is too long");
        return EFI_PROTOCOL_ERROR;
    }
    __builtin_memcpy(image->bytes + offset, bytes, length);
    if (transfer->options->has_sha256)
        sha256_add(&transfer->hash, bytes, length);
    transfer->received += length;
    return EFI_SUCCESS;
}

/*
 * Draw the line of progress, when it is time for it.
 *
 * @v transfer  the download, part of a struct image_transfer
 */
static void draw_progress(struct transfer *transfer)
{
    struct image_transfer *ours = (struct image_transfer *)transfer;
    uint64_t now = clock_ms();
    char line[PROGRESS_MAX];

    if (!ours->image->bytes || (now - ours->drawn_ms < DRAW_EVERY_MS && !transfer->finished))
        return;
    ours->drawn_ms = now;
    progress_line(line, ours->received, ours->image->size, now - ours->started_ms);
    draw(line);
}

/*
 * Judge a download that has ended; says what is wrong with it.
 *
 * @v transfer  the download
 * @v status    how it ended
 * @ret         success if the image is whole and right, else an error
 */
static EFI_STATUS check(struct image_transfer *transfer, EFI_STATUS status)
{
    const struct image *image = transfer->image;

    if (transfer->refusal[0]) {
        say("%s", transfer->refusal);
        return EFI_ERROR(status) ? status : EFI_PROTOCOL_ERROR;
    }
    if (transfer->received < image->size) {
        say("the download broke off after %lu of %lu bytes (%s)", transfer->received, image->size,
            words_for(status));
        return EFI_ERROR(status) ? status : EFI_END_OF_FILE;
    }
    if (EFI_ERROR(status)) {
        say("the download of %s failed: %s", transfer->options->url, words_for(status));
        return status;
    }
    if (!image->bytes) {
        say("the image is empty");
        return EFI_END_OF_FILE;
    }
    if (!transfer->options->has_sha256)
        return EFI_SUCCESS;

    uint8_t digest[SHA256_SIZE];
    sha256_end(&transfer->hash, digest);
    if (__builtin_memcmp(digest, transfer->options->sha256, SHA256_SIZE) != 0) {
        say("the image is not the one it should be: its SHA-256 begins %02x%02x%02x%02x, "
            "and should begin %02x%02x%02x%02x",
            digest[0], digest[1], digest[2], digest[3], transfer->options->sha256[0],
            transfer->options->sha256[1], transfer->options->sha256[2],
            transfer->options->sha256[3]);
        return EFI_CRC_ERROR;
    }
    return EFI_SUCCESS;
}

EFI_STATUS download_image(const struct options *options, struct image *image)
{
    struct image_transfer transfer = {
        .options = options,
        .image = image,
        .started_ms = clock_ms(),
    };

    sha256_begin(&transfer.hash);
    EFI_STATUS status =
        run(options->url, take_image, &transfer.transfer, IMAGE_PATIENCE_MS, draw_progress);
    status = check(&transfer, status);
    if (EFI_ERROR(status))
        release_memory(image);
    return status;
}

/*
 * Take a piece of an answer that is not looked at: iPXE calls this.
 *
 * @v context  not used
 * @v bytes    not used
 * @v length   not used
 * @v offset   not used
 * @ret        success
 */
static EFI_STATUS EFIAPI ignore(void *context, void *bytes, UINTN length, UINTN offset)
{
    (void)context, (void)bytes, (void)length, (void)offset;
    return EFI_SUCCESS;
}

void notify(const char *url)
{
    struct transfer transfer = {0};
    EFI_STATUS status = run(url, ignore, &transfer, NOTIFY_PATIENCE_MS, NULL);

    if (EFI_ERROR(status))
        say("the server could not be told (%s); going on", words_for(status));
}
