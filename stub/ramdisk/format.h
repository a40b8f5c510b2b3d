/* Text from numbers: the part of printf that the messages need. Pure. */
#ifndef FORMAT_H
#define FORMAT_H

#include <stdarg.h>
#include <stddef.h>

/*
 * Write a text. Knows %s, %u, %lu, %x, %lx and %%, each with a width that pads with blanks, or with
 * zeros after `0`.
 *
 * @v out      where it goes; cut off where it is too long
 * @v size     the room there in bytes, terminator included
 * @v pattern  the pattern; its arguments follow
 */
void format(char *out, size_t size, const char *pattern, ...) __attribute__((format(printf, 3, 4)));

/*
 * Write a text, as format() does.
 *
 * @v out        where it goes; cut off where it is too long
 * @v size       the room there in bytes, terminator included
 * @v pattern    the pattern
 * @v arguments  its arguments
 */
void format_arguments(char *out, size_t size, const char *pattern, va_list arguments);

#endif
