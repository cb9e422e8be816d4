/* PBKDF2-HMAC-SHA-256 (RFC 8018, section 5.2) and the SCRAM keys made from it (RFC 5802, section 3).
 *
 * The password is hashed once, into two midstates. Each iteration then has two compressions of one block, which the
 * kernels do in registers. The caller owns the derivation and runs it in steps, and checks deadline and cancellation
 * between two steps.
 */
#include "internal.h"
#include "zero.h"

void babar_pbkdf2_begin(babar_pbkdf2 *derivation, const uint8_t *password, size_t password_length,
                        const uint8_t *salt, size_t salt_length, uint32_t iterations)
{
    /* U_1 is the HMAC of the salt and INT(1). The salt may have any length. This buffer holds its last partial block
     * and the number. */
    uint8_t rest[BABAR_BLOCK + 4], mac[32];
    uint32_t state[8];
    size_t full = salt_length / BABAR_BLOCK, length = salt_length % BABAR_BLOCK;

    babar_hmac_begin(password, password_length, derivation->inner, derivation->outer);
    memcpy(state, derivation->inner, sizeof state);
    if (full)
        babar_current()->blocks(state, salt, full);
    if (length)
        memcpy(rest, salt + full * BABAR_BLOCK, length);
    babar_store32(rest + length, 1);
    babar_hmac_finish(state, (uint64_t)(full + 1) * BABAR_BLOCK, derivation->outer, rest, length + 4, mac);
    for (unsigned i = 0; i < 8; i++)
        derivation->u[i] = derivation->t[i] = babar_load32(mac + 4 * i);
    derivation->remaining = iterations ? iterations - 1 : 0;
    babar_zero(state, sizeof state);
    babar_zero(mac, sizeof mac);
}

uint32_t babar_pbkdf2_step(babar_pbkdf2 *derivation, uint32_t most)
{
    uint32_t count = derivation->remaining < most ? derivation->remaining : most;
    if (count) {
        babar_current()->iterate(&derivation, count);
        derivation->remaining -= count;
    }
    return derivation->remaining;
}

size_t babar_pbkdf2_step_many(babar_pbkdf2 *derivations, size_t count, uint32_t most)
{
    const babar_kernel *kernel = babar_current();
    babar_pbkdf2 *lane[BABAR_WIDE_LANES];
    uint32_t allowed[BABAR_WIDE_LANES];
    size_t used = 0, next = 0, unfinished = 0;

    for (size_t g = 0; g < 2; g++) {
        const babar_group *group = &kernel->groups[g];
        if (!group->lanes || !group->capable())
            continue;
        for (;;) {
            /* Fill the lanes. A finished derivation leaves its lane to the next. */
            while (used < group->lanes && next < count) {
                uint32_t share = derivations[next].remaining < most ? derivations[next].remaining : most;
                if (share) {
                    lane[used] = &derivations[next];
                    allowed[used++] = share;
                }
                next++;
            }
            if (used < group->lanes)
                break; /* too few for this group */
            uint32_t together = allowed[0];
            for (size_t i = 1; i < group->lanes; i++)
                together = allowed[i] < together ? allowed[i] : together;
            group->iterate(lane, together);
            for (size_t i = group->lanes; i-- > 0;) {
                lane[i]->remaining -= together;
                allowed[i] -= together;
                if (allowed[i] == 0) {
                    used--;
                    lane[i] = lane[used];
                    allowed[i] = allowed[used];
                }
            }
        }
    }
    for (size_t i = 0; i < used; i++)
        babar_pbkdf2_step(lane[i], allowed[i]);
    for (; next < count; next++)
        babar_pbkdf2_step(&derivations[next], most);
    for (size_t i = 0; i < count; i++)
        unfinished += derivations[i].remaining != 0;
    return unfinished;
}

void babar_pbkdf2_finish(babar_pbkdf2 *derivation, uint8_t derived_key[32])
{
    for (unsigned i = 0; i < 8; i++)
        babar_store32(derived_key + 4 * i, derivation->t[i]);
    babar_zero(derivation, sizeof *derivation);
}

void babar_scram_keys(const uint8_t salted_password[32], uint8_t keys[96])
{
    static const uint8_t client[] = {'C', 'l', 'i', 'e', 'n', 't', ' ', 'K', 'e', 'y'};
    static const uint8_t server[] = {'S', 'e', 'r', 'v', 'e', 'r', ' ', 'K', 'e', 'y'};
    uint32_t inner[8], outer[8];

    babar_hmac_begin(salted_password, 32, inner, outer);
    babar_hmac_finish(inner, BABAR_BLOCK, outer, client, sizeof client, keys);
    babar_sha256(keys, 32, keys + 32);
    babar_hmac_finish(inner, BABAR_BLOCK, outer, server, sizeof server, keys + 64);
    babar_zero(inner, sizeof inner);
    babar_zero(outer, sizeof outer);
}

void babar_wipe(void *memory, size_t length)
{
    babar_zero(memory, length);
}
