#include "firmware.h"

#include <stdarg.h>

EFI_SYSTEM_TABLE *firmware;
EFI_BOOT_SERVICES *boot_services;

/*
 * Show text. UEFI 2.10 §12.4.3. A console that does not work is nothing that we could tell anybody.
 *
 * @v text  the text, with NUL at its end
 */
static void print(const CHAR16 *text)
{
    (void)firmware->ConOut->OutputString(firmware->ConOut, (CHAR16 *)text);
}

void say(const CHAR16 *piece, ...)
{
    va_list pieces;

    print(L"bootserver: ");
    va_start(pieces, piece);
    for (; piece; piece = va_arg(pieces, const CHAR16 *))
        print(piece);
    va_end(pieces);
    print(L"\r\n");
}

const CHAR16 *status_text(EFI_STATUS status)
{
    static CHAR16 text[] = L"0x0000000000000000";

    for (int digit = 17; digit > 1; digit--) {
        text[digit] = L"0123456789abcdef"[status & 15];
        status >>= 4;
    }
    return text;
}

void *protocol_of(EFI_HANDLE handle, EFI_GUID guid)
{
    void *found;

    /* UEFI 2.10 §7.3.7 */
    return EFI_ERROR(boot_services->HandleProtocol(handle, &guid, &found)) ? NULL : found;
}

EFI_HANDLE *handles_with(EFI_GUID guid, UINTN *count)
{
    EFI_HANDLE *handles;

    /* UEFI 2.10 §7.3.15; no such handle is an error there. */
    if (EFI_ERROR(boot_services->LocateHandleBuffer(ByProtocol, &guid, NULL, count, &handles)))
        return NULL;
    return handles;
}

void *allocate(UINTN size)
{
    void *memory;

    /* UEFI 2.10 §7.2.4 */
    return EFI_ERROR(boot_services->AllocatePool(EfiLoaderData, size, &memory)) ? NULL : memory;
}

void release(void *memory)
{
    /* UEFI 2.10 §7.2.5: it fails only for what was never allocated. */
    if (memory)
        (void)boot_services->FreePool(memory);
}

/*
 * Ask for the size of a file.
 *
 * @v file  the file, open
 * @v size  its size in bytes; left alone on failure
 * @ret     what the firmware returned
 */
static EFI_STATUS file_size(EFI_FILE_PROTOCOL *file, UINTN *size)
{
    /* The file's name follows the structure: ours are short. */
    union {
        EFI_FILE_INFO info;
        UINT8 room[sizeof(EFI_FILE_INFO) + 256 * sizeof(CHAR16)];
    } answer;
    EFI_GUID guid = EFI_FILE_INFO_ID;
    UINTN answer_size = sizeof answer;
    EFI_STATUS status = file->GetInfo(file, &guid, &answer_size, &answer); /* §13.5.11 */

    if (!EFI_ERROR(status))
        *size = answer.info.FileSize;
    return status;
}

/*
 * Read a file from its beginning to its end.
 *
 * @v file  the file, open; the caller closes it
 * @v data  its bytes, which the caller frees with release(); left alone on failure
 * @v size  their number; undefined on failure
 * @ret     success; EFI_END_OF_FILE if the file was shorter than it said
 */
static EFI_STATUS read_all(EFI_FILE_PROTOCOL *file, UINT8 **data, UINTN *size)
{
    UINTN expected;
    EFI_STATUS status = file_size(file, &expected);

    if (EFI_ERROR(status))
        return status;
    UINT8 *content = allocate(expected);
    if (!content)
        return EFI_OUT_OF_RESOURCES;
    *size = expected;
    status = file->Read(file, size, content); /* UEFI 2.10 §13.5.5 */
    if (!EFI_ERROR(status) && *size != expected)
        status = EFI_END_OF_FILE;
    if (EFI_ERROR(status))
        release(content);
    else
        *data = content;
    return status;
}

EFI_STATUS read_file(EFI_HANDLE volume, const CHAR16 *path, UINT8 **data, UINTN *size)
{
    EFI_SIMPLE_FILE_SYSTEM_PROTOCOL *file_system =
        protocol_of(volume, (EFI_GUID)EFI_SIMPLE_FILE_SYSTEM_PROTOCOL_GUID);
    EFI_FILE_PROTOCOL *root, *file;

    if (!file_system)
        return EFI_UNSUPPORTED;
    EFI_STATUS status = file_system->OpenVolume(file_system, &root); /* UEFI 2.10 §13.4.2 */
    if (EFI_ERROR(status))
        return status;
    status = root->Open(root, &file, (CHAR16 *)path, EFI_FILE_MODE_READ, 0); /* §13.5.2 */
    if (!EFI_ERROR(status)) {
        status = read_all(file, data, size);
        (void)file->Close(file); /* §13.5.3: cannot fail */
    }
    (void)root->Close(root);
    return status;
}
