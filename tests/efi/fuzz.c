/*
 * fuzz KIND ITERATIONS RANDOM-SEED FILE
 *
 * Feeds mutations of the file to the pure parts of the UEFI loader: KIND is packed (a packed
 * program), filter (a filtered one), image (a PE image with a section .stub) or parts (such a
 * section). Every input and every output lies in a block of memory of exactly its size, so that the
 * sanitizers see a step out of it. Prints how many mutations were accepted.
 */

#include <string.h>

#include "carried.h"
#include "filter.h"
#include "fuzz.h"
#include "packed.h"

enum { UNPACKED_MAX = 1 << 22 };

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
    struct input seed = read_file(words[4]);
    size_t accepted = 0;

    require(seed.size > 0, "the seed is not empty");
    random_state = strtoul(words[3], NULL, 10) * 2 + 1;
    for (unsigned long i = strtoul(words[2], NULL, 10); i; i--) {
        size_t size = random_below(8) ? seed.size : 1 + random_below(seed.size);
        uint8_t *bytes = malloc(size);
        memcpy(bytes, seed.bytes, size);
        mutate(bytes, size);
        accepted += (size_t)try(bytes, size);
        free(bytes);
    }
    free(seed.bytes);
    printf("%zu\n", accepted);
    return 0;
}
