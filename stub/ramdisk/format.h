/* Text from numbers: the part of printf that the messages need. Pure. */
#ifndef FORMAT_H
#define FORMAT_H

#include <stdarg.h>
#include <stddef.h>

/*
 * Write `pattern` to `out` (`size` bytes, terminator included, cut off where it is too long).
 * Knows %s, %u, %lu, %x, %lx and %%, each with a width that pads with blanks, or zeros after `0`.
 */
void format(char *out, size_t size, const char *pattern, ...) __attribute__((format(printf, 3, 4)));
void format_arguments(char *out, size_t size, const char *pattern, va_list arguments);

#endif
