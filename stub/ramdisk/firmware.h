/* What the rest needs of the firmware all the time: its services, a console, a clock. */
#ifndef FIRMWARE_H
#define FIRMWARE_H

#include <stdint.h>

#include "efi_types.h"

extern EFI_HANDLE our_image;
extern EFI_SYSTEM_TABLE *systab;
extern EFI_BOOT_SERVICES *services;

/*
 * Find the firmware's services. To be called first.
 *
 * @v image         our own handle
 * @v system_table  the firmware's tables, which are kept
 */
void meet_firmware(EFI_HANDLE image, EFI_SYSTEM_TABLE *system_table);

/*
 * Write a line for the technician, "bootserver: " in front.
 *
 * @v pattern  the line, as format() takes it; its arguments follow
 */
void say(const char *pattern, ...) __attribute__((format(printf, 1, 2)));

/* As say(), in a build that traces. Others compile it too, and leave it out. */
#define trace(...)                                                                                 \
    do {                                                                                           \
        if (TRACING)                                                                               \
            say("trace: " __VA_ARGS__);                                                            \
    } while (0)

/*
 * Write over the line on which the cursor stands; the next say() starts below it.
 *
 * @v line  the text
 */
void draw(const char *line);

/*
 * Find a few words for a status, for the end of a sentence.
 *
 * @v status  the status
 * @ret       the words, which are valid until the next call
 */
const char *words_for(EFI_STATUS status);

/*
 * Read the time.
 *
 * @ret  milliseconds since meet_firmware()
 */
uint64_t clock_ms(void);

#endif
