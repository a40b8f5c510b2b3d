/* gnu-efi's headers, and the protocols that they lack. */
#ifndef EFI_TYPES_H
#define EFI_TYPES_H

#include <efi.h>

_Static_assert(sizeof(CHAR16) == 2, "some of gnu-efi's headers make it a wchar_t: -fshort-wchar");

/* EFI_RAM_DISK_PROTOCOL, UEFI 2.10 §13.17 */
#define RAM_DISK_PROTOCOL_GUID                                                                     \
    {0xab38a0df, 0x6873, 0x44a9, {0x87, 0xe6, 0xd4, 0xeb, 0x56, 0x14, 0x84, 0x49}}

struct ram_disk_protocol {
    EFI_STATUS(EFIAPI *Register)(UINT64 start, UINT64 size, EFI_GUID *type,
                                 EFI_DEVICE_PATH *parent, EFI_DEVICE_PATH **path);
    EFI_STATUS(EFIAPI *Unregister)(EFI_DEVICE_PATH *path);
};

/* What a RAM disk is, UEFI 2.10 §10.3.5.9 */
#define VIRTUAL_DISK_GUID                                                                          \
    {0x77ab535a, 0x45fc, 0x624b, {0x55, 0x60, 0xf7, 0xb2, 0x81, 0xd1, 0xf9, 0x6e}}
#define VIRTUAL_CD_GUID                                                                            \
    {0x3d5abd30, 0x4175, 0x87ce, {0x6d, 0x64, 0xd2, 0xad, 0xe5, 0x23, 0xc4, 0xbb}}

/* EFI_ACPI_TABLE_PROTOCOL, UEFI 2.10 §20.2 */
#define ACPI_TABLE_PROTOCOL_GUID                                                                   \
    {0xffe06bdd, 0x6107, 0x46a6, {0x7b, 0xb2, 0x5a, 0x9c, 0x7e, 0xc5, 0x27, 0x5c}}

struct acpi_table_protocol {
    EFI_STATUS(EFIAPI *Install)(struct acpi_table_protocol *self, void *table, UINTN size,
                                UINTN *key);
    EFI_STATUS(EFIAPI *Uninstall)(struct acpi_table_protocol *self, UINTN key);
};

/* iPXE's download protocol. Its callbacks come from within Poll, at TPL_CALLBACK. */
#define IPXE_DOWNLOAD_PROTOCOL_GUID                                                                \
    {0x3eaeaebd, 0xdecf, 0x493b, {0x9b, 0xd1, 0xcd, 0xb2, 0xde, 0xca, 0xe7, 0x19}}

/*
 * `length` bytes of the file from `offset` on. With length 0 and an offset it is a hint: the file's
 * size. Any error ends the download.
 */
typedef EFI_STATUS(EFIAPI *ipxe_data)(void *context, void *bytes, UINTN length, UINTN offset);
typedef void(EFIAPI *ipxe_finish)(void *context, EFI_STATUS status);

struct ipxe_download_protocol {
    EFI_STATUS(EFIAPI *Start)(struct ipxe_download_protocol *self, CHAR8 *url, ipxe_data data,
                              ipxe_finish finish, void *context, void **file);
    EFI_STATUS(EFIAPI *Abort)(struct ipxe_download_protocol *self, void *file, EFI_STATUS status);
    EFI_STATUS(EFIAPI *Poll)(struct ipxe_download_protocol *self);
};

#endif
