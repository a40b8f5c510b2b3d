/*
 * fuzz KIND ITERATIONS RANDOM-SEED FILE...
 *
 * Feeds mutations of the files to the pure parts of ramdisk.efi: KIND is iso, options or nfit. Each
 * lies in a block of memory of exactly its size, so that the sanitizers see any step out of it.
 */

#include <string.h>

#include "acpi.h"
#include "fuzz.h"
#include "iso.h"
#include "options.h"

/* A place that is worth changing: near something, for most of an ISO is zeros. */
static size_t place_in(const struct input *input)
{
    size_t place = random_below(input->size);

    for (int tries = 0; tries < 64 && !input->bytes[place]; tries++)
        place = random_below(input->size);
    return place;
}

static void mutate(struct input *input)
{
    static const uint32_t odd[] = {0, 1, 2, 16, 17, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF};

    if (random_below(8) == 0)
        input->size = random_below(input->size + 1);
    for (uint64_t changes = random_below(6); changes && input->size > 8; changes--) {
        size_t place = place_in(input);
        uint32_t number = odd[random_below(sizeof odd / sizeof *odd)];
        switch (random_below(4)) {
        case 0:
            input->bytes[place] ^= (uint8_t)(1u << random_below(8));
            break;
        case 1:
            input->bytes[place] = (uint8_t)random_below(256);
            break;
        case 2:
            if (place + sizeof number <= input->size)
                memcpy(input->bytes + place, &number, sizeof number);
            break;
        default:
            number = (uint32_t)random_below(input->size / CD_SECTOR + 2);
            if (place + sizeof number <= input->size)
                memcpy(input->bytes + place, &number, sizeof number);
        }
    }
}

static void check_extent(const struct disc *disc, const struct extent *extent)
{
    require(extent->size > 0, "an extent is not empty");
    require(extent->start < disc->size, "an extent begins on the disc");
    require(extent->size <= disc->size - extent->start, "an extent ends on the disc");
}

static uint64_t try_iso(const struct input *input)
{
    const struct disc disc = {input->bytes, input->size};
    struct extent extent;
    uint64_t found = 0;

    if (iso_find_efi_image(&disc, &extent)) {
        check_extent(&disc, &extent);
        found++;
    }
    if (iso_find_file(&disc, "EFI/BOOT/BOOTX64.EFI", &extent)) {
        check_extent(&disc, &extent);
        found++;
    }
    return found + iso_has_volume(&disc);
}

static uint64_t try_options(const struct input *input)
{
    struct options options;
    char problem[PROBLEM_MAX];
    /* Two bytes each, as UCS-2 is; in their own block, of exactly their size. */
    size_t length = input->size / 2;
    uint16_t *text = malloc(length * 2 + 1);
    memcpy(text, input->bytes, length * 2);

    int is_good = parse_options(text, length, &options, problem);
    if (is_good)
        require(memchr(options.url, '\0', URL_MAX) != NULL, "an address ends");
    else
        require(memchr(problem, '\0', PROBLEM_MAX) != NULL, "a sentence ends");
    free(text);
    return (uint64_t)is_good;
}

static uint64_t try_nfit(const struct input *input)
{
    uint32_t size = (uint32_t)input->size;

    if (size < 40)
        return 0;
    memcpy(input->bytes + 4, &size, sizeof size); /* firmware's own tables are of their size */
    return acpi_nfit_has(input->bytes, 0x100000000, 0x200000);
}

int main(int count, char **words)
{
    require(count > 4, "fuzz KIND ITERATIONS RANDOM-SEED FILE...");
    uint64_t (*try)(const struct input *) = words[1][0] == 'i'   ? try_iso
                                            : words[1][0] == 'o' ? try_options
                                                                 : try_nfit;
    unsigned long iterations = strtoul(words[2], NULL, 10);
    random_state = strtoul(words[3], NULL, 10) * 2 + 1;
    uint64_t found = 0;

    for (int seed = 4; seed < count; seed++) {
        struct input original = read_file(words[seed]);
        for (unsigned long i = 0; i < iterations; i++) {
            struct input input = {malloc(original.size ? original.size : 1), original.size};
            memcpy(input.bytes, original.bytes, original.size);
            if (i)
                mutate(&input); /* the first time it is as it is */
            /* Shortened: into a block that is no larger. */
            input.bytes = realloc(input.bytes, input.size ? input.size : 1);
            found += try(&input);
            free(input.bytes);
        }
        free(original.bytes);
    }
    printf("%lu\n", (unsigned long)found);
    return 0;
}
