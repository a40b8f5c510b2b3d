/* The command line, as iPXE hands it on: the program's name, then words like url=/x.iso. Pure. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sha256.h"

enum {
    URL_MAX = 1024,    /* bytes, terminator included */
    PROBLEM_MAX = 160, /* likewise */
};

struct options {
    char url[URL_MAX];             /* url=     where the image is; relative to this program's URL */
    char notify[URL_MAX];          /* notify=  fetched just before the hand-off; "" for none */
    uint8_t sha256[SHA256_SIZE];   /* sha256=  what the image must be */
    bool has_sha256;
    uint64_t size_bytes;           /* size=    how long the image must be; 0 when not given */
    bool own_disk;                 /* mode=own our own disk even where the firmware has RAM disks */
};

/*
 * Read the command line.
 *
 * @v text     the command line in UCS-2
 * @v length   its characters
 * @v options  the options; undefined on failure
 * @v problem  why the command line cannot be used; left alone on success
 * @ret        whether it can
 */
bool parse_options(const uint16_t *text, size_t length, struct options *options,
                   char problem[PROBLEM_MAX]);

#endif
