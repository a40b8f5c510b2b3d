/* What a C library and its start-up code would bring: functions that gcc calls on its own account,
 * and the word that a loader wants to read. */

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

/*
 * A table of two relocations that do nothing: firmware takes a program without a table for one that
 * must lie at its first address. (PE format, "The .reloc Section")
 */
static const struct {
    uint32_t page;
    uint32_t size;
    uint16_t entries[2];
} relocations __attribute__((section(".reloc"), used)) = {0, 12, {0, 0}};
