/*
 * fuzz KIND ITERATIONS RANDOM-SEED FILE
 *
 * Feeds mutations of the file to the pure parts of the UEFI loader: KIND is packed (a packed
 * program), filter (a filtered one), image (a PE image with a section .stub) or parts (such a
 * section). Every input and every output lies in a block of memory of exactly its size, so that the
 * sanitizers see a step out of it. Prints how many mutations were accepted.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "carried.h"
#include "filter.h"
#include "packed.h"

enum { UNPACKED_MAX = 1 << 22 };

static uint64_t random_state;

/* xorshift64* */
static uint64_t random_below(uint64_t limit)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (random_state * 0x2545F4914F6CDD1Du >> 16) % limit;
}

static void require(int condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "broken promise: %s\n", what);
        abort();
    }
}

static uint8_t *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    require(file != NULL, "the seed can be opened");
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    uint8_t *bytes = malloc(*size);
    require(*size && fread(bytes, 1, *size, file) == *size, "the seed can be read");
    fclose(file);
    return bytes;
}

/* Change some bytes, half of the time among the first, where the headers are. */
static void mutate(uint8_t *bytes, size_t size)
{
    static const uint8_t odd[] = {0, 1, 0x7F, 0x80, 0xFF};

    for (uint64_t changes = 1 + random_below(6); changes; changes--) {
        size_t limit = random_below(2) && size > 512 ? 512 : size;
        uint8_t *place = bytes + random_below(limit);
        if (random_below(2))
            *place = odd[random_below(sizeof odd)];
        else
            *place ^= (uint8_t)(1u << random_below(8));
    }
}

static int try_packed(const uint8_t *bytes, size_t size)
{
    static struct lzma model;
    size_t program_size = packed_program_size(bytes, size);

    if (program_size == 0 || program_size > UNPACKED_MAX) /* the larger ones only take longer */
        return 0;
    uint8_t *program = malloc(program_size);
    int is_good = packed_unpack(&model, bytes, size, program);
    free(program);
    return is_good;
}

static int try_filter(const uint8_t *bytes, size_t size)
{
    uint8_t *program = malloc(size);
    memcpy(program, bytes, size);
    filter_undo(program, size);
    free(program);
    return 0; /* it accepts anything */
}

static void check_inside(struct bytes whole, struct bytes part)
{
    require(part.size <= whole.size && part.data >= whole.data, "what is found lies inside");
    require(part.data + part.size <= whole.data + whole.size, "what is found ends inside");
}

static int try_parts(const uint8_t *bytes, size_t size)
{
    struct bytes section = {bytes, size}, part;

    if (!find_part(section, "SCRIPT", &part))
        return 0;
    check_inside(section, part);
    return 1;
}

static int try_image(const uint8_t *bytes, size_t size)
{
    struct bytes image = {bytes, size}, section;

    if (!find_section(image, ".stub", &section))
        return 0;
    check_inside(image, section);
    return try_parts(section.data, section.size);
}

int main(int count, char **words)
{
    require(count == 5, "fuzz KIND ITERATIONS RANDOM-SEED FILE");
    int (*try)(const uint8_t *, size_t) = !strcmp(words[1], "packed")   ? try_packed
                                          : !strcmp(words[1], "filter") ? try_filter
                                          : !strcmp(words[1], "image")  ? try_image
                                                                        : try_parts;
    size_t seed_size, accepted = 0;
    uint8_t *seed = read_file(words[4], &seed_size);

    random_state = strtoul(words[3], NULL, 10) * 2 + 1;
    for (unsigned long i = strtoul(words[2], NULL, 10); i; i--) {
        size_t size = random_below(8) ? seed_size : 1 + random_below(seed_size);
        uint8_t *bytes = malloc(size);
        memcpy(bytes, seed, size);
        mutate(bytes, size);
        accepted += (size_t)try(bytes, size);
        free(bytes);
    }
    free(seed);
    printf("%zu\n", accepted);
    return 0;
}
