/* The parts that a single-file stub carries inside itself. Pure. */
#ifndef CARRIED_H
#define CARRIED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bytes {
    const uint8_t *data;
    size_t size;
};

/*
 * Find the section `name` (at most 8 characters) of a PE32+ image that firmware has loaded, that
 * is, with every section at its virtual address. False if it has none.
 */
bool find_section(struct bytes image, const char *name, struct bytes *section);

/*
 * Find a part in the section `.stub` that bootserver/stub/efi_file.py appends:
 *
 * | offset | size | meaning                                                             |
 * |--------|------|---------------------------------------------------------------------|
 * | 0      | 12   | name of the part, filled up with NUL; empty after the last part     |
 * | 12     | 4    | its size, little-endian                                             |
 * | 16     |      | its bytes; then the next part                                       |
 */
bool find_part(struct bytes section, const char *name, struct bytes *part);

#endif
