#include "options.h"

#include "format.h"

/* A word of the command line, as plain ASCII. */
struct word {
    char text[URL_MAX + 16]; /* the longest value and its name */
    size_t length;
};

enum next { NEXT_WORD, NEXT_END, NEXT_UNUSABLE };

/*
 * Read the next word of the command line.
 *
 * @v at    where to read; stands behind the word afterwards
 * @v end   the end of the command line
 * @v word  the word
 * @ret     whether there was one, none was left, or it cannot be used
 */
static enum next next_word(const uint16_t **at, const uint16_t *end, struct word *word)
{
    while (*at < end && **at == ' ')
        (*at)++;
    word->length = 0;
    while (*at < end && **at && **at != ' ') {
        uint16_t c = *(*at)++;
        if (c < 0x20 || c > 0x7E || word->length + 1 == sizeof word->text)
            return NEXT_UNUSABLE;
        word->text[word->length++] = (char)c;
    }
    word->text[word->length] = '\0';
    return word->length ? NEXT_WORD : NEXT_END;
}

/*
 * Compare the name of an option.
 *
 * @v word  the option
 * @v name  the name, with its equals sign
 * @ret     its value, which points into `word`; NULL if that is not its name
 */
static const char *value_of(const struct word *word, const char *name)
{
    const char *text = word->text;

    while (*name)
        if (*text++ != *name++)
            return NULL;
    return text;
}

/*
 * Compare two texts.
 *
 * @v a  one
 * @v b  the other
 * @ret  whether they are equal
 */
static bool is_equal(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

/*
 * Read a value that is an address.
 *
 * @v value  the value
 * @v url    a copy of it; undefined on failure
 * @ret      whether it is neither empty nor too long
 */
static bool read_url(const char *value, char url[URL_MAX])
{
    size_t length = 0;

    for (; value[length]; length++) {
        if (length + 1 == URL_MAX)
            return false;
        url[length] = value[length];
    }
    url[length] = '\0';
    return length > 0;
}

/*
 * Read a hexadecimal digit.
 *
 * @v c  the digit, in either case
 * @ret  its value; -1 if it is none
 */
static int hexadecimal(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 'a' ^ 'A';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/*
 * Read a value that is a digest.
 *
 * @v value   the value, in hexadecimal
 * @v sha256  the digest; undefined on failure
 * @ret       whether it is one
 */
static bool read_sha256(const char *value, uint8_t sha256[SHA256_SIZE])
{
    for (size_t i = 0; i < SHA256_SIZE; i++) {
        int high = hexadecimal(*value);
        if (high < 0)
            return false;
        int low = hexadecimal(value[1]);
        if (low < 0)
            return false;
        sha256[i] = (uint8_t)(high << 4 | low);
        value += 2;
    }
    return *value == '\0';
}

/*
 * Read a value that is a size.
 *
 * @v value       the value, in decimal
 * @v size_bytes  the size; left alone on failure
 * @ret           whether it is one, and not 0
 */
static bool read_size(const char *value, uint64_t *size_bytes)
{
    uint64_t size = 0;

    for (; *value; value++) {
        unsigned digit = (unsigned)(*value - '0');
        if (digit > 9 || size > (UINT64_MAX - digit) / 10)
            return false;
        size = size * 10 + digit;
    }
    *size_bytes = size;
    return size > 0;
}

/*
 * Take one option.
 *
 * @v word     the option
 * @v options  where its value goes
 * @v wanted   what the option ought to look like; a text that stays
 * @ret        whether it is understood
 */
static bool take(const struct word *word, struct options *options, const char **wanted)
{
    const char *value;

    if ((value = value_of(word, "url="))) {
        *wanted = "it takes an address";
        return read_url(value, options->url);
    }
    if ((value = value_of(word, "notify="))) {
        *wanted = "it takes an address";
        return read_url(value, options->notify);
    }
    if ((value = value_of(word, "sha256="))) {
        *wanted = "it takes 64 hexadecimal digits";
        options->has_sha256 = true;
        return read_sha256(value, options->sha256);
    }
    if ((value = value_of(word, "size="))) {
        *wanted = "it takes a number of bytes";
        return read_size(value, &options->size_bytes);
    }
    if ((value = value_of(word, "mode="))) {
        *wanted = "it takes auto or own";
        options->own_disk = is_equal(value, "own");
        return options->own_disk || is_equal(value, "auto");
    }
    *wanted = "there are url, sha256, size, mode and notify";
    return false;
}

bool parse_options(const uint16_t *text, size_t length, struct options *options,
                   char problem[PROBLEM_MAX])
{
    const uint16_t *end = text + length;
    struct word word;
    bool is_name = true; /* the first word is the program's own name */
    enum next next;

    *options = (struct options){.size_bytes = 0};
    while ((next = next_word(&text, end, &word)) == NEXT_WORD) {
        const char *wanted;
        if (!is_name && !take(&word, options, &wanted)) {
            word.text[60] = '\0'; /* enough to recognise it by */
            format(problem, PROBLEM_MAX, "the option %s is not understood: %s", word.text, wanted);
            return false;
        }
        is_name = false;
    }
    if (next == NEXT_UNUSABLE) {
        format(problem, PROBLEM_MAX, "an option is too long, or not plain ASCII");
        return false;
    }
    if (!options->url[0]) {
        format(problem, PROBLEM_MAX, "the option url=ADDRESS is missing");
        return false;
    }
    return true;
}
