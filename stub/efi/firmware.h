/* What the loader asks of the firmware: its tables, its console, files. */
#ifndef FIRMWARE_H
#define FIRMWARE_H

#include <efi.h>

extern EFI_SYSTEM_TABLE *firmware;
extern EFI_BOOT_SERVICES *boot_services;

/*
 * Show one line on the console, after "bootserver: ".
 *
 * @v piece  the line's first piece; the others follow, and then NULL
 */
void say(const CHAR16 *piece, ...);

/* As say(), without the NULL, in a build that traces. Others compile it too, and leave it out. */
#define trace(...)                                                                                 \
    do {                                                                                           \
        if (TRACING)                                                                               \
            say(L"trace: ", __VA_ARGS__, NULL);                                                    \
    } while (0)

/*
 * Write an error code in hexadecimal.
 *
 * @v status  the code
 * @ret       the text, which is valid until the next call
 */
const CHAR16 *status_text(EFI_STATUS status);

/*
 * Look for a protocol on a handle.
 *
 * @v handle  the handle
 * @v guid    the protocol
 * @ret       the firmware's interface; NULL if the handle has none
 */
void *protocol_of(EFI_HANDLE handle, EFI_GUID guid);

/*
 * Find all handles with a protocol.
 *
 * @v guid   the protocol
 * @v count  their number; undefined if there are none
 * @ret      the handles, which the caller frees with release(); NULL if there are none
 */
EFI_HANDLE *handles_with(EFI_GUID guid, UINTN *count);

/*
 * Get memory.
 *
 * @v size  its size in bytes
 * @ret     the memory, which the caller frees with release(); NULL if there is none
 */
void *allocate(UINTN size);

/*
 * Free memory that the firmware has allocated.
 *
 * @v memory  the memory, or NULL
 */
void release(void *memory);

/*
 * Read a whole file of a volume.
 *
 * @v volume  a handle with a file system
 * @v path    the file's path on it
 * @v data    the file's bytes, which the caller frees with release(); left alone on failure
 * @v size    their number; undefined on failure
 * @ret       success, or what failed
 */
EFI_STATUS read_file(EFI_HANDLE volume, const CHAR16 *path, UINT8 **data, UINTN *size);

#endif
