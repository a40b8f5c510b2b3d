/* How a download goes, in one line. Pure. */
#ifndef PROGRESS_H
#define PROGRESS_H

#include <stddef.h>
#include <stdint.h>

enum { PROGRESS_MAX = 72 }; /* an 80-column screen holds it; terminator included */

/*
 * Write " 42%  1234 of 2938 MB  38.1 MB/s  0:44 left", padded to its full width.
 *
 * @v line         where it goes
 * @v done_bytes   what has come so far
 * @v total_bytes  what is to come in all
 * @v elapsed_ms   how long it has taken
 */
void progress_line(char line[PROGRESS_MAX], uint64_t done_bytes, uint64_t total_bytes,
                   uint64_t elapsed_ms);

#endif
