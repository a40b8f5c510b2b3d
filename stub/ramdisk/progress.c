#include "progress.h"

#include "format.h"

enum { MB = 1000000 };

void progress_line(char line[PROGRESS_MAX], uint64_t done_bytes, uint64_t total_bytes,
                   uint64_t elapsed_ms)
{
    char left[24] = "";
    uint64_t percent = 100;
    if (done_bytes < total_bytes) /* where it would overflow, a little less will do */
        percent = total_bytes < UINT64_MAX / 100 ? done_bytes * 100 / total_bytes
                                                 : done_bytes / (total_bytes / 100 + 1);
    uint64_t kb_per_s = elapsed_ms ? done_bytes / elapsed_ms : 0;

    if (kb_per_s && done_bytes < total_bytes) {
        uint64_t left_s = (total_bytes - done_bytes) / kb_per_s / 1000;
        if (left_s < 100 * 60 * 60)
            format(left, sizeof left, "  %lu:%02lu left", left_s / 60, left_s % 60);
    }
    format(line, PROGRESS_MAX, "%3lu%%  %lu of %lu MB  %lu.%lu MB/s%s", percent, done_bytes / MB,
           total_bytes / MB, kb_per_s / 1000, kb_per_s % 1000 / 100, left);

    /* Blanks to the end: what was drawn before may have been longer. */
    size_t length = 0;
    while (line[length])
        length++;
    for (; length < PROGRESS_MAX - 1; length++)
        line[length] = ' ';
    line[length] = '\0';
}
