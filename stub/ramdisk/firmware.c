#include "firmware.h"

#include <stdbool.h>

#include "format.h"

enum { LINE_MAX = 1400 }; /* a URL and a sentence around it */

/* UEFI 2.10, appendix D; not in gnu-efi */
#define NETWORK_UNREACHABLE EFIERR(100)
#define CONNECTION_CLOSED EFIERR(104)
#define CONNECTION_RESET EFIERR(105)
#define CONNECTION_REFUSED EFIERR(106)

EFI_HANDLE our_image;
EFI_SYSTEM_TABLE *systab;
EFI_BOOT_SERVICES *services;

static bool is_drawn; /* the cursor stands on a line that was drawn */
static uint64_t first_tick;
static uint64_t ticks_per_ms;

/*
 * Read the processor's counter.
 *
 * @ret  its ticks
 */
static uint64_t ticks(void)
{
    return __builtin_ia32_rdtsc();
}

void meet_firmware(EFI_HANDLE image, EFI_SYSTEM_TABLE *system_table)
{
    our_image = image;
    systab = system_table;
    services = system_table->BootServices;

    /* The processor's counter, measured against the firmware. Timer events are lost while iPXE
     * works, and GetTime is slow or wrong on many a machine. */
    first_tick = ticks();
    services->Stall(10000); /* UEFI 2.10 §7.5; cannot fail */
    ticks_per_ms = (ticks() - first_tick) / 10 + 1;
}

uint64_t clock_ms(void)
{
    return (ticks() - first_tick) / ticks_per_ms;
}

/*
 * Write to the console. An error of it is dropped: there is no other place to show it.
 *
 * @v text  ASCII; what is beyond LINE_MAX is cut off
 */
static void write(const char *text)
{
    CHAR16 wide[LINE_MAX];
    size_t length = 0;

    for (; text[length] && length + 1 < LINE_MAX; length++)
        wide[length] = (CHAR16)text[length];
    wide[length] = 0;
    if (systab->ConOut) /* UEFI 2.10 §12.4.3 */
        systab->ConOut->OutputString(systab->ConOut, wide);
}

void say(const char *pattern, ...)
{
    char line[LINE_MAX];
    va_list arguments;

    va_start(arguments, pattern);
    format_arguments(line, sizeof line, pattern, arguments);
    va_end(arguments);
    if (is_drawn)
        write("\r\n");
    is_drawn = false;
    write("bootserver: ");
    write(line);
    write("\r\n");
}

void draw(const char *line)
{
    is_drawn = true;
    write("\r");
    write(line);
}

const char *words_for(EFI_STATUS status)
{
    static char number[32];

    switch (status) {
    case EFI_SUCCESS:
        return "no error";
    case EFI_NOT_FOUND:
        return "not found";
    case EFI_TIMEOUT:
        return "no answer";
    case NETWORK_UNREACHABLE:
        return "network unreachable";
    case CONNECTION_CLOSED:
    case CONNECTION_RESET:
        return "the server closed the connection";
    case CONNECTION_REFUSED:
    case EFI_ABORTED: /* iPXE's word for it */
        return "connection refused";
    case EFI_OUT_OF_RESOURCES:
        return "out of memory";
    case EFI_ACCESS_DENIED:
        return "access denied";
    case EFI_SECURITY_VIOLATION:
        return "security violation";
    case EFI_UNSUPPORTED:
        return "unsupported";
    case EFI_LOAD_ERROR:
        return "not a program for this machine";
    default:
        format(number, sizeof number, "EFI status 0x%lx", status);
        return number;
    }
}
