/* Two derivations of different length with one kernel. The difference is the cost of the kernel. */
#include "../../babar_tls/_native/babar_native.h"

#include <stdio.h>
#include <stdlib.h>

int main(int count, char **arguments)
{
    uint8_t out[32];
    babar_pbkdf2 derivation;
    unsigned rounds = count > 2 ? (unsigned)atoi(arguments[2]) : 0;

    if (rounds == 0 || babar_select(arguments[1]) != 0)
        return 2;
    babar_pbkdf2_begin(&derivation, (const uint8_t *)"pencil", 6, (const uint8_t *)"salt", 4, rounds);
    while (babar_pbkdf2_step(&derivation, 1u << 30) != 0) {
    }
    babar_pbkdf2_finish(&derivation, out);
    printf("%02x%02x\n", out[0], out[31]);
    return 0;
}
