/* Fuzz target: the certificate parser. The memory ends at the end of the input, so that a sanitizer reports any read
 * after it. For every input the result is one of those in the header, and is the same for each call. A digest is written
 * if and only if the result is SHA-256, and is that of the input.
 */
#include "../babar_tls/_native/babar_native.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t untouched[32] = {0};
    uint8_t digest[32] = {0}, expected[32], *copy = malloc(size ? size : 1);
    int hash;

    if (copy == NULL)
        abort();
    if (size)
        memcpy(copy, data, size);
    hash = babar_end_point_hash(size ? copy : NULL, size, digest);
    if (hash == 0 || hash < BABAR_NO_HASH || hash > BABAR_HASH_SHA3_512)
        abort();
    if (hash == BABAR_HASH_SHA256) {
        babar_sha256(copy, size, expected);
        if (memcmp(digest, expected, 32) != 0)
            abort();
    } else if (memcmp(digest, untouched, 32) != 0) {
        abort();
    }
    if (babar_end_point_hash(copy, size, digest) != hash || (size && memcmp(copy, data, size) != 0))
        abort();
    free(copy);
    return 0;
}
