/* Files over the network, by iPXE. */
#ifndef DOWNLOAD_H
#define DOWNLOAD_H

#include "memory.h"
#include "options.h"

/*
 * Bring the image into memory and check it; says what went wrong.
 *
 * @v options  the command line: where it is, and what it must be
 * @v image    the image, which the caller releases with release_memory(); all zero on failure
 * @ret        success, or what failed
 */
EFI_STATUS download_image(const struct options *options, struct image *image);

/*
 * Ask for a URL so that the server hears of it. Nothing depends on the answer.
 *
 * @v url  the URL
 */
void notify(const char *url);

#endif
