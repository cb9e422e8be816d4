/* SHA-256 on the ARMv8 cryptographic extensions.
 *
 * sha256h and sha256h2 do four rounds on a state of two registers, ABCD and EFGH; sha256su0 and sha256su1 extend the
 * schedule by four words. The words are in memory order, so that in PBKDF2 a state is also a message.
 */
#include "internal.h"

#ifdef BABAR_ARM

#include <arm_neon.h>
#if defined(__linux__)
#include <sys/auxv.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(_WIN32)
#include <windows.h>
#endif

#if defined(__clang__)
#define SHA2 BABAR_TARGET("sha2")
#elif defined(__GNUC__)
#define SHA2 BABAR_TARGET("+crypto") /* before GCC 14 arm_neon.h also requires AES */
#else
#define SHA2
#endif
#if defined(__GNUC__) || defined(__clang__)
#define UNROLLED __attribute__((always_inline))
#else
#define UNROLLED
#endif
#define INLINE static inline SHA2
#define MAX_CHAINS 3

typedef struct {
    uint32x4_t abcd, efgh;
} state_t;

int babar_sha256_armv8_capable(void)
{
#if defined(__linux__)
    return (int)(getauxval(AT_HWCAP) >> 6 & 1); /* HWCAP_SHA2 */
#elif defined(__APPLE__)
    return 1; /* every ARM computer from Apple */
#elif defined(_WIN32)
    return IsProcessorFeaturePresent(PF_ARM_V8_CRYPTO_INSTRUCTIONS_AVAILABLE) != 0;
#else
    return 0;
#endif
}

INLINE state_t load_state(const uint32_t words[8])
{
    state_t s = {vld1q_u32(words), vld1q_u32(words + 4)};
    return s;
}

INLINE void store_state(uint32_t words[8], uint32x4_t abcd, uint32x4_t efgh)
{
    vst1q_u32(words, abcd);
    vst1q_u32(words + 4, efgh);
}

/* Rounds 4i .. 4i+3 of n chains, on message words w. */
#define ROUNDS(i, w)                                                                                                   \
    do {                                                                                                               \
        const uint32x4_t k = vld1q_u32(babar_sha256_k + 4 * (i));                                                      \
        for (int c = 0; c < n; c++) {                                                                                  \
            uint32x4_t kw = vaddq_u32(m[c][w], k), abcd = s[c].abcd;                                                   \
            s[c].abcd = vsha256hq_u32(abcd, s[c].efgh, kw);                                                            \
            s[c].efgh = vsha256h2q_u32(s[c].efgh, abcd, kw);                                                           \
        }                                                                                                              \
    } while (0)

/* The next four words of the schedule replace the oldest four, w0; w1, w2, w3 are the younger ones. */
#define SCHEDULE(w0, w1, w2, w3)                                                                                       \
    do {                                                                                                               \
        for (int c = 0; c < n; c++)                                                                                    \
            m[c][w0] = vsha256su1q_u32(vsha256su0q_u32(m[c][w0], m[c][w1]), m[c][w2], m[c][w3]);                       \
    } while (0)

#define SCHEDULED_ROUNDS(i)                                                                                            \
    do {                                                                                                               \
        SCHEDULE(0, 1, 2, 3);                                                                                          \
        ROUNDS(i, 0);                                                                                                  \
        SCHEDULE(1, 2, 3, 0);                                                                                          \
        ROUNDS((i) + 1, 1);                                                                                            \
        SCHEDULE(2, 3, 0, 1);                                                                                          \
        ROUNDS((i) + 2, 2);                                                                                            \
        SCHEDULE(3, 0, 1, 2);                                                                                          \
        ROUNDS((i) + 3, 3);                                                                                            \
    } while (0)

/* One compression in each of n chains. n is a constant at every call, so that the loops are unrolled. */
INLINE UNROLLED void compress(const int n, state_t s[], uint32x4_t m[][4])
{
    state_t before[MAX_CHAINS];

    for (int c = 0; c < n; c++)
        before[c] = s[c];
    ROUNDS(0, 0);
    ROUNDS(1, 1);
    ROUNDS(2, 2);
    ROUNDS(3, 3);
    SCHEDULED_ROUNDS(4);
    SCHEDULED_ROUNDS(8);
    SCHEDULED_ROUNDS(12);
    for (int c = 0; c < n; c++) {
        s[c].abcd = vaddq_u32(s[c].abcd, before[c].abcd);
        s[c].efgh = vaddq_u32(s[c].efgh, before[c].efgh);
    }
}

SHA2 void babar_sha256_blocks_armv8(uint32_t state[8], const uint8_t *data, size_t num_blocks)
{
    state_t s[1] = {load_state(state)};
    uint32x4_t m[1][4];

    for (; num_blocks; num_blocks--, data += BABAR_BLOCK) {
        for (int i = 0; i < 4; i++)
            m[0][i] = vreinterpretq_u32_u8(vrev32q_u8(vld1q_u8(data + 16 * i)));
        compress(1, s, m);
    }
    store_state(state, s[0].abcd, s[0].efgh);
}

/* `count` iterations in each of n derivations: U = HMAC(password, U), T ^= U. */
INLINE UNROLLED void iterate(const int n, babar_pbkdf2 *const derivations[], uint32_t count)
{
    const uint32x4_t zero = vdupq_n_u32(0);
    const uint32x4_t padding = vsetq_lane_u32(0x80000000, zero, 0);
    const uint32x4_t length = vsetq_lane_u32((BABAR_BLOCK + 32) * 8, zero, 3);
    state_t inner[MAX_CHAINS], outer[MAX_CHAINS], s[MAX_CHAINS], t[MAX_CHAINS];
    uint32x4_t m[MAX_CHAINS][4];

    for (int c = 0; c < n; c++) {
        inner[c] = load_state(derivations[c]->inner);
        outer[c] = load_state(derivations[c]->outer);
        s[c] = load_state(derivations[c]->u);
        t[c] = load_state(derivations[c]->t);
    }
    while (count--) {
        for (int half = 0; half < 2; half++) {
            for (int c = 0; c < n; c++) {
                m[c][0] = s[c].abcd;
                m[c][1] = s[c].efgh;
                m[c][2] = padding;
                m[c][3] = length;
                s[c] = half ? outer[c] : inner[c];
            }
            compress(n, s, m);
        }
        for (int c = 0; c < n; c++) {
            t[c].abcd = veorq_u32(t[c].abcd, s[c].abcd);
            t[c].efgh = veorq_u32(t[c].efgh, s[c].efgh);
        }
    }
    for (int c = 0; c < n; c++) {
        store_state(derivations[c]->u, s[c].abcd, s[c].efgh);
        store_state(derivations[c]->t, t[c].abcd, t[c].efgh);
    }
}

SHA2 void babar_pbkdf2_iterate_armv8(babar_pbkdf2 *const derivations[], uint32_t count)
{
    iterate(1, derivations, count);
}

SHA2 void babar_pbkdf2_iterate3_armv8(babar_pbkdf2 *const derivations[], uint32_t count)
{
    iterate(3, derivations, count);
}

#endif
