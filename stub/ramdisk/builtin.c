/* What a C library would bring: functions that compilers call on their own account. */

#include <stddef.h>
#include <stdint.h>

void *memcpy(void *to, const void *from, size_t length);
void *memset(void *to, int byte, size_t length);
int memcmp(const void *one, const void *other, size_t length);

/*
 * Copy bytes.
 *
 * @v to      where to
 * @v from    where from; apart from `to`
 * @v length  how many
 * @ret       `to`
 */
void *memcpy(void *to, const void *from, size_t length)
{
    void *at = to;

    __asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(length) : : "memory");
    return to;
}

/*
 * Fill memory with a byte.
 *
 * @v to      where to
 * @v byte    the byte
 * @v length  how many times
 * @ret       `to`
 */
void *memset(void *to, int byte, size_t length)
{
    void *at = to;

    __asm__ volatile("rep stosb" : "+D"(at), "+c"(length) : "a"(byte) : "memory");
    return to;
}

/*
 * Compare bytes.
 *
 * @v one     some bytes
 * @v other   the others
 * @v length  how many
 * @ret       0 where they are equal, else the first difference: below 0 where `one` is less
 */
int memcmp(const void *one, const void *other, size_t length)
{
    const uint8_t *a = one, *b = other;

    for (; length; length--, a++, b++)
        if (*a != *b)
            return *a - *b;
    return 0;
}
