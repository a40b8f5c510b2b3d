/* What the rest needs of the firmware all the time: its services, a console, a clock. */
#ifndef FIRMWARE_H
#define FIRMWARE_H

#include <stdint.h>

#include "efi_types.h"

extern EFI_HANDLE our_image;
extern EFI_SYSTEM_TABLE *systab;
extern EFI_BOOT_SERVICES *services;

/* To be called first. */
void meet_firmware(EFI_HANDLE image, EFI_SYSTEM_TABLE *system_table);

/* Write a line for the technician, "bootserver: " in front. */
void say(const char *pattern, ...) __attribute__((format(printf, 1, 2)));

/* Write over the line on which the cursor stands; the next `say` starts below it. */
void draw(const char *line);

/* A few words for a status, for the end of a sentence. Valid until the next call. */
const char *words_for(EFI_STATUS status);

/* Milliseconds since `meet_firmware`. */
uint64_t clock_ms(void);

#endif
