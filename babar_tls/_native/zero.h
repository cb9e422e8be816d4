/* Wiping secrets. A plain memset before a return is dead code to an optimizer; the barrier says that somebody may
 * still look at the memory. */
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
