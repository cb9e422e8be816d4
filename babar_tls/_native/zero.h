/* Wipe secrets. An optimizer removes a memset before a return as dead code. The barrier declares that the memory may
 * still be read. */
#ifndef BABAR_ZERO_H
#define BABAR_ZERO_H

#include <stddef.h>
#include <string.h>

static inline void babar_zero(void *memory, size_t length)
{
#if defined(__GNUC__) || defined(__clang__)
    memset(memory, 0, length);
    __asm__ __volatile__("" : : "r"(memory) : "memory");
#else
    volatile unsigned char *byte = (volatile unsigned char *)memory;
    while (length--)
        *byte++ = 0;
#endif
}

#endif
