/* What a C library would bring: functions that compilers call on their own account. */

#include <stddef.h>
#include <stdint.h>

void *memcpy(void *to, const void *from, size_t length);
void *memset(void *to, int byte, size_t length);
int memcmp(const void *one, const void *other, size_t length);

/* The processor's own loops: quick with long pieces, and no loops that gcc could turn into calls of
 * these very functions. */
void *memcpy(void *to, const void *from, size_t length)
{
    void *at = to;

    __asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(length) : : "memory");
    return to;
}

void *memset(void *to, int byte, size_t length)
{
    void *at = to;

    __asm__ volatile("rep stosb" : "+D"(at), "+c"(length) : "a"(byte) : "memory");
    return to;
}

int memcmp(const void *one, const void *other, size_t length)
{
    const uint8_t *a = one, *b = other;

    for (; length; length--, a++, b++)
        if (*a != *b)
            return *a - *b;
    return 0;
}
