#include "filter.h"

#include <stdbool.h>

enum {
    CALL = 0xE8,      /* and JMP, 0xE9, with a distance of 32 bits */
    JUMP = 0xE9,
    STORE = 0x89,     /* MOV to memory */
    LOAD = 0x8B,      /* MOV from memory */
    LEA = 0x8D,
    MODRM_MASK = 0xC7, /* all but the register */
    MODRM_RIP = 0x05,  /* RIP-relative, with a distance of 32 bits */
    DISTANCE_SIZE = 4,
};

/*
 * Find the distance in an instruction.
 *
 * @v code  the instruction; two bytes are read
 * @ret     where the distance lies behind the first byte; 0 if the instruction has none
 */
static size_t distance_offset(const uint8_t *code)
{
    if (code[0] == CALL || code[0] == JUMP)
        return 1;
    if ((code[0] == STORE || code[0] == LOAD || code[0] == LEA)
        && (code[1] & MODRM_MASK) == MODRM_RIP)
        return 2;
    return 0;
}

void filter_undo(uint8_t *image, size_t size)
{
    size_t at = 0;

    while (at + 1 + DISTANCE_SIZE <= size) {
        size_t offset = distance_offset(image + at);
        if (offset == 0) {
            at++;
            continue;
        }
        size_t start = at + offset; /* of the distance, and what it is counted from */
        if (start + DISTANCE_SIZE > size)
            return;
        at = start + DISTANCE_SIZE;
        uint8_t *bytes = image + start;
        int64_t target = (int32_t)(bytes[0] | (uint32_t)bytes[1] << 8
                                   | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24);
        int64_t distance = target; /* of one that leads out of the image */
        if (target >= 0 && target < (int64_t)size)
            distance = target - (int64_t)start;
        else if (target < 0 && target >= -(int64_t)start)
            distance = target + (int64_t)size;
        for (int i = 0; i < DISTANCE_SIZE; i++)
            bytes[i] = (uint8_t)((uint64_t)distance >> 8 * i);
    }
}
