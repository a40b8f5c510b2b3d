/* Files over the network, by iPXE. */
#ifndef DOWNLOAD_H
#define DOWNLOAD_H

#include "memory.h"
#include "options.h"

/*
 * Bring the image into memory and check it. Says what went wrong; there is no memory to release
 * then.
 */
EFI_STATUS download_image(const struct options *options, struct image *image);

/* Ask for a URL so that the server hears of it. Nothing depends on the answer. */
void notify(const char *url);

#endif
