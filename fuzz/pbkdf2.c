/* Fuzz target: every kernel that this CPU supports has the results of the portable kernel, for steps of any size, in
 * single and in simultaneous derivations. The first bytes of an input are the lengths. The memory of password and salt
 * ends at their end.
 */
#include "../babar_tls/_native/babar_native.h"

#include <stdlib.h>
#include <string.h>

enum { JOBS = 7, HEADER = 5 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t *copy_of(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    if (copy == NULL)
        abort();
    if (size)
        memcpy(copy, data, size);
    return copy;
}

/* JOBS derivations of the same password and salt, with 1, 2, ... additional iterations. */
static void derive(const char *kernel, const uint8_t *password, size_t password_length, const uint8_t *salt,
                   size_t salt_length, uint32_t iterations, uint32_t most, uint8_t keys[JOBS][32])
{
    babar_pbkdf2 *derivations = malloc(JOBS * sizeof *derivations);
    static const babar_pbkdf2 wiped = {{0}, {0}, {0}, {0}, 0};

    if (derivations == NULL || babar_select(kernel) != 0)
        abort();
    for (uint32_t i = 0; i < JOBS; i++)
        babar_pbkdf2_begin(&derivations[i], password, password_length, salt, salt_length, iterations + i);
    while (babar_pbkdf2_step(&derivations[0], most))
        ;
    while (babar_pbkdf2_step_many(derivations, JOBS, most))
        ;
    for (uint32_t i = 0; i < JOBS; i++) {
        babar_pbkdf2_finish(&derivations[i], keys[i]);
        if (memcmp(&derivations[i], &wiped, sizeof wiped) != 0)
            abort();
    }
    free(derivations);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t expected[JOBS][32], keys[JOBS][32], scram[96], expected_scram[96];

    if (size < HEADER)
        return 0;
    uint32_t iterations = data[0] % 16, most = 1u + data[1] % 9u;
    size_t password_length = data[2], salt_length = data[3], rest = size - HEADER;
    size_t offset = data[4] % 16; /* of the salt: kernels read it in place */
    data += HEADER;
    if (password_length > rest)
        password_length = rest;
    rest -= password_length;
    if (offset > rest)
        offset = rest;
    if (salt_length > rest - offset)
        salt_length = rest - offset;
    uint8_t *password = copy_of(data, password_length), *salt = copy_of(data + password_length, offset + salt_length);

    derive("portable", password, password_length, salt + offset, salt_length, iterations, UINT32_MAX, expected);
    babar_scram_keys(expected[0], expected_scram);
    for (size_t i = 0; i < babar_kernel_count(); i++) {
        if (!babar_kernel_capable(i))
            continue;
        derive(babar_kernel_name(i), password, password_length, salt + offset, salt_length, iterations, most, keys);
        babar_scram_keys(keys[0], scram);
        if (memcmp(keys, expected, sizeof keys) != 0 || memcmp(scram, expected_scram, sizeof scram) != 0)
            abort();
    }
    free(password);
    free(salt);
    return 0;
}
