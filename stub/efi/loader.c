/*
 * bootserver's UEFI loader, BOOTX64.EFI of a stub: starts iPXE from memory. So few bytes are read
 * over a slow redirected CD.
 *
 * Three parts belong to it: a small and a full iPXE, both packed, and iPXE's script. They lie
 * beside it on its volume, or inside it if the stub is one program.
 *
 * The states, and how each fails:
 *
 *   small   if the firmware drives a card with a cable in. This iPXE uses the firmware's driver.
 *           Its script makes one round over all servers. If it ends, or cannot start: full.
 *   full    This iPXE has its own drivers, and its script tries for ever. If it ends, or cannot
 *           start, the firmware goes on to its next boot option.
 *
 * Starting one reads its part, unpacks it, and has the firmware load it. Fails: the medium reads
 * wrong, too little memory, damaged bytes, Secure Boot refuses it. `exit 2` in the small one's
 * script ends both states: its user has chosen the next boot option.
 *
 * Nothing is kept from one state to the next: buffers are freed once iPXE is loaded, or has ended.
 */
#include <efi.h>

#include "carried.h"
#include "firmware.h"
#include "network.h"
#include "packed.h"

/* A file of the stub: on its FAT volume, or inside our own image if the stub is one .efi. */
struct part {
    CHAR16 path[16]; /* on the volume */
    char name[12];   /* inside our image */
};

static const struct part FULL_IPXE = {L"\\IPXE.BIN", "IPXE.BIN"};
static const struct part SMALL_IPXE = {L"\\SNP.BIN", "SNP.BIN"};
static const struct part SCRIPT = {L"\\autoexec.ipxe", "SCRIPT"};

/*
 * What iPXE is told on its command line is a script. The first word counts as the program's name.
 * `try_once` makes the script end after one round instead of trying for ever.
 */
static const char SCRIPT_START[] = "x ";
static const char SCRIPT_START_ONCE[] = "x #!ipxe\nset try_once 1\n";

/* What iPXE returns when its script says `exit 2`: its user has chosen the next boot option. */
#define LEFT_BY_SCRIPT EFIERR(0x7E)

struct loader {
    EFI_HANDLE image;
    EFI_LOADED_IMAGE_PROTOCOL *self;
    struct bytes carried; /* the section .stub of our own image; empty if there is none */
};

/*
 * Read a part, from the volume or out of our own image.
 *
 * @v loader  where to look
 * @v part    which part
 * @v data    its bytes, which the caller frees with release(); undefined on failure
 * @v size    their number
 * @ret       success, or what failed
 */
static EFI_STATUS read_part(const struct loader *loader, const struct part *part, UINT8 **data,
                            UINTN *size)
{
    struct bytes found;

    if (!loader->carried.data)
        return read_file(loader->self->DeviceHandle, part->path, data, size);
    if (!find_part(loader->carried, part->name, &found))
        return EFI_NOT_FOUND;
    *data = allocate(found.size);
    if (!*data)
        return EFI_OUT_OF_RESOURCES;
    boot_services->CopyMem(*data, (void *)found.data, found.size);
    *size = found.size;
    return EFI_SUCCESS;
}

/*
 * Read and unpack a packed part; says what is wrong with it.
 *
 * @v loader        where to look
 * @v part          which part
 * @v program       the program, which the caller frees with release(); freed already on failure
 * @v program_size  its size in bytes
 * @ret             success, or what failed
 */
static EFI_STATUS unpack_part(const struct loader *loader, const struct part *part, UINT8 **program,
                              UINTN *program_size)
{
    UINT8 *packed;
    UINTN packed_size;
    EFI_STATUS status = read_part(loader, part, &packed, &packed_size);

    if (EFI_ERROR(status)) {
        say(part->path, L" cannot be read: ", status_text(status), NULL);
        return status;
    }
    *program_size = packed_program_size(packed, packed_size);
    trace(part->path, L": its program has ", status_text(*program_size), L" bytes");
    *program = *program_size ? allocate(*program_size) : NULL;
    struct lzma *model = allocate(sizeof *model);
    if (*program_size && (!*program || !model)) {
        say(L"not enough memory to unpack iPXE", NULL);
        status = EFI_OUT_OF_RESOURCES;
    } else if (!packed_unpack(model, packed, packed_size, *program)) {
        say(part->path, L" is damaged: its medium reads wrong, or the stub is broken", NULL);
        status = EFI_CRC_ERROR;
    }
    if (EFI_ERROR(status))
        release(*program);
    release(model);
    release(packed);
    return status;
}

/*
 * Make load options of the script, in 16-bit characters.
 *
 * @v loader        where to look for the script
 * @v start         what is put in front of it
 * @v options       the options, which the caller frees with release(); undefined on failure
 * @v options_size  their size in bytes, NUL included
 * @ret             success, or what failed
 */
static EFI_STATUS script_options(const struct loader *loader, const char *start, CHAR16 **options,
                                 UINTN *options_size)
{
    UINT8 *script;
    UINTN script_size, start_length = 0;
    EFI_STATUS status = read_part(loader, &SCRIPT, &script, &script_size);

    if (EFI_ERROR(status)) {
        say(SCRIPT.path, L" cannot be read: ", status_text(status), NULL);
        return status;
    }
    while (start[start_length])
        start_length++;
    *options_size = (start_length + script_size + 1) * sizeof(CHAR16);
    *options = allocate(*options_size);
    if (*options) {
        CHAR16 *next = *options;
        for (UINTN i = 0; i < start_length; i++)
            *next++ = (CHAR16)start[i];
        for (UINTN i = 0; i < script_size; i++)
            *next++ = script[i];
        *next = 0;
    } else {
        status = EFI_OUT_OF_RESOURCES;
    }
    release(script);
    return status;
}

/*
 * Hand a program over to the firmware, which copies it; says why not. UEFI 2.10 §7.4.1
 *
 * @v loader   who starts it
 * @v program  the program
 * @v size     its size in bytes
 * @v image    the firmware's handle of it; nothing is left loaded on failure
 * @ret        success, or why the firmware refuses it
 */
static EFI_STATUS load(const struct loader *loader, UINT8 *program, UINTN size, EFI_HANDLE *image)
{
    /* With our own path iPXE finds our volume and on it autoexec.ipxe. */
    EFI_DEVICE_PATH_PROTOCOL *path =
        protocol_of(loader->image, (EFI_GUID)EFI_LOADED_IMAGE_DEVICE_PATH_PROTOCOL_GUID);
    EFI_STATUS status =
        boot_services->LoadImage(FALSE, loader->image, path, program, size, image);

    if (status == EFI_SECURITY_VIOLATION)
        (void)boot_services->UnloadImage(*image); /* loaded all the same, but not to be started */
    if (status == EFI_SECURITY_VIOLATION || status == EFI_ACCESS_DENIED)
        say(L"Secure Boot refuses iPXE: it is not signed with a key that this machine trusts",
            NULL);
    else if (EFI_ERROR(status))
        say(L"the firmware cannot load iPXE: ", status_text(status), NULL);
    return status;
}

/*
 * Start iPXE from a packed part. It comes back when its script has come to its end, which is no
 * boot, whatever it returns.
 *
 * @v loader        who starts it
 * @v part          which iPXE
 * @v card          the network card that it is to use; NULL for any
 * @v options       its load options, which stay the caller's; NULL for none
 * @v options_size  their size in bytes
 * @ret             what iPXE returned, or why it was not started
 */
static EFI_STATUS start(const struct loader *loader, const struct part *part, EFI_HANDLE card,
                        CHAR16 *options, UINTN options_size)
{
    UINT8 *program;
    UINTN program_size;
    EFI_HANDLE image;
    EFI_STATUS status = unpack_part(loader, part, &program, &program_size);

    if (EFI_ERROR(status))
        return status;
    status = load(loader, program, program_size, &image);
    release(program);
    if (EFI_ERROR(status))
        return status;

    EFI_LOADED_IMAGE_PROTOCOL *loaded =
        protocol_of(image, (EFI_GUID)EFI_LOADED_IMAGE_PROTOCOL_GUID);
    if (!loaded) {
        (void)boot_services->UnloadImage(image);
        return EFI_UNSUPPORTED;
    }
    loaded->DeviceHandle = card ? card : loader->self->DeviceHandle;
    if (options) {
        loaded->LoadOptions = options;
        loaded->LoadOptionsSize = (UINT32)options_size;
    }
    trace(part->path, options ? L": starting it with options" : L": starting it");
    return boot_services->StartImage(image, NULL, NULL); /* UEFI 2.10 §7.4.2 */
}

/*
 * Start the small iPXE, whose script runs once.
 *
 * @v loader  who starts it
 * @v card    the network card, which the firmware drives
 * @ret       what iPXE returned, or why it was not started
 */
static EFI_STATUS start_small(const struct loader *loader, EFI_HANDLE card)
{
    CHAR16 *options;
    UINTN options_size;
    EFI_STATUS status = script_options(loader, SCRIPT_START_ONCE, &options, &options_size);

    if (EFI_ERROR(status))
        return status;
    say(L"the firmware drives a network card: starting the small iPXE", NULL);
    status = start(loader, &SMALL_IPXE, card, options, options_size);
    release(options);
    return status;
}

/*
 * Start the full iPXE, which has drivers of its own.
 *
 * @v loader  who starts it
 * @ret       what iPXE returned, or why it was not started
 */
static EFI_STATUS start_full(const struct loader *loader)
{
    CHAR16 *options = NULL;
    UINTN options_size = 0;

    /* From a volume iPXE takes its script itself. */
    if (loader->carried.data) {
        EFI_STATUS status = script_options(loader, SCRIPT_START, &options, &options_size);
        if (EFI_ERROR(status))
            return status;
    }
    say(L"starting the full iPXE", NULL);
    EFI_STATUS status = start(loader, &FULL_IPXE, NULL, options, options_size);
    release(options);
    return status;
}

/*
 * The entry point, which efi.lds names. UEFI 2.10 §4.1
 *
 * @v image         our own handle
 * @v system_table  the firmware's tables
 * @ret             an error, since a boot does not come back; LEFT_BY_SCRIPT if the user chose to
 *                  go on
 */
EFI_STATUS EFIAPI efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system_table)
{
    struct loader loader = {.image = image};

    firmware = system_table;
    boot_services = system_table->BootServices;
    loader.self = protocol_of(image, (EFI_GUID)EFI_LOADED_IMAGE_PROTOCOL_GUID);
    if (!loader.self)
        return EFI_UNSUPPORTED;
    struct bytes own = {loader.self->ImageBase, loader.self->ImageSize};
    if (!find_section(own, ".stub", &loader.carried))
        loader.carried = (struct bytes){NULL, 0};
    trace(L"the parts lie ", loader.carried.data ? L"in this program" : L"on its volume");

    EFI_HANDLE card = working_card();
    if (card) {
        EFI_STATUS status = start_small(&loader, card);
        if (status == LEFT_BY_SCRIPT)
            return status;
        say(L"the small iPXE did not boot: ", status_text(status), NULL);
    }
    EFI_STATUS status = start_full(&loader);
    say(L"iPXE did not boot: ", status_text(status), NULL);
    /* The firmware goes on to its next boot option only if we failed, and so we did. */
    return EFI_ERROR(status) ? status : EFI_ABORTED;
}
