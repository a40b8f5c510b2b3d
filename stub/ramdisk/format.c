#include "format.h"

#include <stdbool.h>
#include <stdint.h>

enum { DIGITS_MAX = 20 }; /* of 2^64 in decimal */

struct text {
    char *out;
    size_t size;
    size_t length;
};

/*
 * Write a character, if there is room for it and the terminator.
 *
 * @v text  what has been written so far
 * @v c     the character
 */
static void put(struct text *text, char c)
{
    if (text->length + 1 < text->size)
        text->out[text->length++] = c;
}

/*
 * Write a word with padding in front.
 *
 * @v text    what has been written so far
 * @v word    the word
 * @v length  its length
 * @v width   the width to pad it to
 * @v fill    what to pad with
 */
static void put_padded(struct text *text, const char *word, size_t length, size_t width, char fill)
{
    for (size_t i = length; i < width; i++)
        put(text, fill);
    for (size_t i = 0; i < length; i++)
        put(text, word[i]);
}

/*
 * Write a number with padding in front.
 *
 * @v text    what has been written so far
 * @v number  the number
 * @v base    10 or 16
 * @v width   the width to pad it to
 * @v fill    what to pad with
 */
static void put_number(struct text *text, uint64_t number, unsigned base, size_t width, char fill)
{
    char digits[DIGITS_MAX];
    size_t start = DIGITS_MAX;

    do {
        digits[--start] = "0123456789abcdef"[number % base];
        number /= base;
    } while (number);
    put_padded(text, digits + start, DIGITS_MAX - start, width, fill);
}

void format_arguments(char *out, size_t size, const char *pattern, va_list arguments)
{
    struct text text = {out, size, 0};

    for (; *pattern; pattern++) {
        if (*pattern != '%') {
            put(&text, *pattern);
            continue;
        }
        pattern++;
        char fill = ' ';
        if (*pattern == '0') {
            fill = '0';
            pattern++;
        }
        size_t width = 0;
        for (; *pattern >= '0' && *pattern <= '9'; pattern++)
            width = width * 10 + (size_t)(*pattern - '0');
        bool is_long = *pattern == 'l';
        if (is_long)
            pattern++;
        if (*pattern == 's') {
            const char *word = va_arg(arguments, const char *);
            size_t length = 0;
            while (word[length])
                length++;
            put_padded(&text, word, length, width, fill);
        } else if (*pattern == 'u' || *pattern == 'x') {
            uint64_t number =
                is_long ? va_arg(arguments, unsigned long) : va_arg(arguments, unsigned);
            put_number(&text, number, *pattern == 'u' ? 10 : 16, width, fill);
        } else {
            put(&text, *pattern); /* "%%" */
        }
    }
    if (size)
        out[text.length] = '\0';
}

void format(char *out, size_t size, const char *pattern, ...)
{
    va_list arguments;

    va_start(arguments, pattern);
    format_arguments(out, size, pattern, arguments);
    va_end(arguments);
}
