/* What the loader asks of the firmware: its tables, its console, files. */
#ifndef FIRMWARE_H
#define FIRMWARE_H

#include <efi.h>

extern EFI_SYSTEM_TABLE *firmware;
extern EFI_BOOT_SERVICES *boot_services;

/* Show one line: the pieces up to NULL, after "bootserver: ". */
void say(const CHAR16 *piece, ...);

/* An error code as text for say(); valid until the next call. */
const CHAR16 *status_text(EFI_STATUS status);

/* The protocol of a handle; NULL if it has none. */
void *protocol_of(EFI_HANDLE handle, EFI_GUID guid);

/* All handles that have a protocol, to be freed with release(); NULL if there are none. */
EFI_HANDLE *handles_with(EFI_GUID guid, UINTN *count);

/* Memory; NULL if there is none. */
void *allocate(UINTN size);
void release(void *memory);

/* A whole file of a volume, to be freed with release(). */
EFI_STATUS read_file(EFI_HANDLE volume, const CHAR16 *path, UINT8 **data, UINTN *size);

#endif
