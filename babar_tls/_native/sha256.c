/* SHA-256 (FIPS 180-4) and HMAC-SHA-256 (RFC 2104) with the selected kernel, and the portable kernel, which is the
 * reference in tests of the other kernels. */
#include "internal.h"
#include "zero.h"

const uint32_t babar_sha256_k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static const uint32_t initial_state[8] = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

/* The portable kernel: section 6.2.2, step by step. -------------------------------------------------------------- */

static uint32_t rotate(uint32_t x, unsigned n)
{
    return x >> n | x << (32 - n);
}

static void compress(uint32_t state[8], uint32_t w[16])
{
    uint32_t s[8];
    memcpy(s, state, sizeof s);
    for (unsigned i = 0; i < 64; i++) {
        if (i >= 16) {
            uint32_t w2 = w[(i - 2) & 15], w15 = w[(i - 15) & 15];
            w[i & 15] += (rotate(w2, 17) ^ rotate(w2, 19) ^ w2 >> 10) + w[(i - 7) & 15] +
                         (rotate(w15, 7) ^ rotate(w15, 18) ^ w15 >> 3);
        }
        uint32_t t1 = s[7] + (rotate(s[4], 6) ^ rotate(s[4], 11) ^ rotate(s[4], 25)) +
                      ((s[4] & s[5]) ^ (~s[4] & s[6])) + babar_sha256_k[i] + w[i & 15];
        uint32_t t2 = (rotate(s[0], 2) ^ rotate(s[0], 13) ^ rotate(s[0], 22)) +
                      ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
        memmove(s + 1, s, 7 * sizeof *s);
        s[4] += t1;
        s[0] = t1 + t2;
    }
    for (unsigned i = 0; i < 8; i++)
        state[i] += s[i];
    babar_zero(s, sizeof s);
}

int babar_sha256_portable_capable(void)
{
    return 1;
}

void babar_sha256_blocks_portable(uint32_t state[8], const uint8_t *data, size_t num_blocks)
{
    uint32_t w[16];
    for (; num_blocks; num_blocks--, data += BABAR_BLOCK) {
        for (unsigned i = 0; i < 16; i++)
            w[i] = babar_load32(data + 4 * i);
        compress(state, w);
    }
    babar_zero(w, sizeof w);
}

/* Hash the eight words in `u`, preceded by the block of which `midstate` is the state, into `u`. */
static void hash_words(const uint32_t midstate[8], uint32_t u[8])
{
    uint32_t w[16] = {0};
    memcpy(w, u, 32);
    w[8] = 0x80000000;
    w[15] = (BABAR_BLOCK + 32) * 8;
    memcpy(u, midstate, 32);
    compress(u, w);
    babar_zero(w, sizeof w);
}

void babar_pbkdf2_iterate_portable(babar_pbkdf2 *const derivations[], uint32_t count)
{
    babar_pbkdf2 *derivation = derivations[0];
    while (count--) {
        hash_words(derivation->inner, derivation->u);
        hash_words(derivation->outer, derivation->u);
        for (unsigned i = 0; i < 8; i++)
            derivation->t[i] ^= derivation->u[i];
    }
}

/* Whole messages, with any kernel. -------------------------------------------------------------------------------- */

/* The last blocks of a message of `total` bytes, of which `data` contains the `length` bytes not yet hashed. */
static void finish(uint32_t state[8], const uint8_t *data, size_t length, uint64_t total, uint8_t digest[32])
{
    const babar_kernel *kernel = babar_current();
    size_t full = length / BABAR_BLOCK, rest = length % BABAR_BLOCK;
    uint8_t tail[2 * BABAR_BLOCK] = {0};
    size_t tail_blocks = rest < BABAR_BLOCK - 8 ? 1 : 2;

    if (full)
        kernel->blocks(state, data, full);
    if (rest)
        memcpy(tail, data + full * BABAR_BLOCK, rest);
    tail[rest] = 0x80;
    babar_store32(tail + tail_blocks * BABAR_BLOCK - 8, (uint32_t)(total >> 29));
    babar_store32(tail + tail_blocks * BABAR_BLOCK - 4, (uint32_t)(total << 3));
    kernel->blocks(state, tail, tail_blocks);
    for (unsigned i = 0; i < 8; i++)
        babar_store32(digest + 4 * i, state[i]);
    babar_zero(tail, sizeof tail);
}

void babar_sha256(const uint8_t *data, size_t length, uint8_t digest[32])
{
    uint32_t state[8];
    memcpy(state, initial_state, sizeof state);
    finish(state, data, length, length, digest);
    babar_zero(state, sizeof state);
}

void babar_sha256_blocks(uint32_t state[8], const uint8_t *data, size_t num_blocks)
{
    babar_current()->blocks(state, data, num_blocks);
}

void babar_hmac_begin(const uint8_t *key, size_t key_length, uint32_t inner[8], uint32_t outer[8])
{
    uint8_t block[BABAR_BLOCK] = {0};

    if (key_length > BABAR_BLOCK)
        babar_sha256(key, key_length, block);
    else if (key_length)
        memcpy(block, key, key_length);
    for (unsigned i = 0; i < BABAR_BLOCK; i++)
        block[i] ^= 0x36;
    memcpy(inner, initial_state, sizeof initial_state);
    babar_current()->blocks(inner, block, 1);
    for (unsigned i = 0; i < BABAR_BLOCK; i++)
        block[i] ^= 0x36 ^ 0x5c;
    memcpy(outer, initial_state, sizeof initial_state);
    babar_current()->blocks(outer, block, 1);
    babar_zero(block, sizeof block);
}

void babar_hmac_finish(const uint32_t inner[8], uint64_t done, const uint32_t outer[8], const uint8_t *data,
                       size_t length, uint8_t mac[32])
{
    uint32_t state[8];
    memcpy(state, inner, sizeof state);
    finish(state, data, length, done + length, mac);
    memcpy(state, outer, sizeof state);
    finish(state, mac, 32, BABAR_BLOCK + 32, mac);
    babar_zero(state, sizeof state);
}

void babar_hmac_sha256(const uint8_t *key, size_t key_length, const uint8_t *data, size_t length, uint8_t mac[32])
{
    uint32_t inner[8], outer[8];
    babar_hmac_begin(key, key_length, inner, outer);
    babar_hmac_finish(inner, BABAR_BLOCK, outer, data, length, mac);
    babar_zero(inner, sizeof inner);
    babar_zero(outer, sizeof outer);
}
