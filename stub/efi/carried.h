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
 * Find a section of a PE32+ image that firmware has loaded: each section lies at its virtual
 * address.
 *
 * @v image    the image
 * @v name     the section's name, at most 8 characters
 * @v section  the section, which points into `image`; undefined on failure
 * @ret        whether the image has it, whole
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
 *
 * @v section  the section's bytes
 * @v name     the part's name, at most 12 characters
 * @v part     the part, which points into `section`; undefined on failure
 * @ret        whether the section has it, whole
 */
bool find_part(struct bytes section, const char *name, struct bytes *part);

#endif
