/* SHA-256 on the x86 SHA extensions.
 *
 * sha256rnds2 does two rounds and keeps the state in two registers, ABEF and CDGH (their highest lane first). Its
 * latency of four cycles, 32 times a block, is the limit for one chain. The schedule (sha256msg1, sha256msg2) fits into
 * the gaps. Three interleaved chains fill the gaps, up to the limits of the unit (one instruction a cycle) and of the
 * sixteen registers.
 *
 * In PBKDF2 every message is one block: the eight state words of the previous hash, and constant padding. The words stay
 * in registers between two compressions, in the same byte order.
 */
#include "internal.h"

#ifdef BABAR_X86

#include <immintrin.h>
#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
#else
#include <cpuid.h>
#endif

#define SHANI BABAR_TARGET("sha,sse4.1")
#define INLINE static inline SHANI
#define MAX_CHAINS 3

#if defined(__clang__)
#define UNROLLED __attribute__((always_inline))
#define EACH_CHAIN _Pragma("clang loop unroll(full)") for (int c = 0; c < n; c++)
#elif defined(__GNUC__)
#define UNROLLED __attribute__((always_inline))
#define EACH_CHAIN _Pragma("GCC unroll 4") for (int c = 0; c < n; c++)
#else
#define UNROLLED
#define EACH_CHAIN for (int c = 0; c < n; c++)
#endif

typedef struct {
    __m128i abef, cdgh;
} state_t;

static int probe(void)
{
    unsigned leaf1[4] = {0}, leaf7[4] = {0};
#if defined(_MSC_VER) && !defined(__clang__)
    __cpuid((int *)leaf1, 0);
    if (leaf1[0] < 7)
        return 0;
    __cpuid((int *)leaf1, 1);
    __cpuidex((int *)leaf7, 7, 0);
#else
    if (!__get_cpuid(1, &leaf1[0], &leaf1[1], &leaf1[2], &leaf1[3]) ||
        !__get_cpuid_count(7, 0, &leaf7[0], &leaf7[1], &leaf7[2], &leaf7[3]))
        return 0;
#endif
    return leaf1[2] >> 19 & 1 && leaf7[1] >> 29 & 1; /* SSE4.1 and SHA use only registers that every OS saves */
}

/* Cached, because cpuid is slow under a hypervisor. All threads have the same result. */
int babar_sha256_shani_capable(void)
{
    static volatile signed char known;
    if (!known)
        known = probe() ? 1 : -1;
    return known > 0;
}

/* Convert words a..h in memory order to ABEF and CDGH. */
INLINE state_t pack(__m128i abcd, __m128i efgh)
{
    state_t s;
    s.abef = _mm_shuffle_epi32(_mm_unpacklo_epi64(abcd, efgh), 0x1b);
    s.cdgh = _mm_shuffle_epi32(_mm_unpackhi_epi64(abcd, efgh), 0x1b);
    return s;
}

/* Convert back into two registers of a message. One shuffle is used, because the chain waits for the result. */
INLINE void unpack(state_t s, __m128i *abcd, __m128i *efgh)
{
    const __m128 abef = _mm_castsi128_ps(s.abef), cdgh = _mm_castsi128_ps(s.cdgh);
    *abcd = _mm_castps_si128(_mm_shuffle_ps(abef, cdgh, 0xbb));
    *efgh = _mm_castps_si128(_mm_shuffle_ps(abef, cdgh, 0x11));
}

INLINE state_t load_state(const uint32_t words[8])
{
    return pack(_mm_loadu_si128((const __m128i *)(const void *)words),
                _mm_loadu_si128((const __m128i *)(const void *)(words + 4)));
}

INLINE void store_words(uint32_t words[8], __m128i abcd, __m128i efgh)
{
    _mm_storeu_si128((__m128i *)(void *)words, abcd);
    _mm_storeu_si128((__m128i *)(void *)(words + 4), efgh);
}

/* Two rounds of n chains on the lower half of kw (message words plus constants), then two on the upper half. */
#define TWO_ROUNDS EACH_CHAIN s[c].cdgh = _mm_sha256rnds2_epu32(s[c].cdgh, s[c].abef, kw[c])
#define TWO_MORE EACH_CHAIN s[c].abef = _mm_sha256rnds2_epu32(s[c].abef, s[c].cdgh, _mm_shuffle_epi32(kw[c], 0x0e))

#define CONSTANTS(i) _mm_loadu_si128((const __m128i *)(const void *)(babar_sha256_k + 4 * (i)))
#define ADD_CONSTANTS(i, w) EACH_CHAIN kw[c] = _mm_add_epi32(m[c][w], CONSTANTS(i))

/* The next four words of the schedule replace the oldest four, w0; w1, w2, w3 are the younger ones. */
#define SCHEDULE(w0, w1, w2, w3)                                                                                       \
    EACH_CHAIN m[c][w0] = _mm_sha256msg2_epu32(                                                                        \
        _mm_add_epi32(_mm_sha256msg1_epu32(m[c][w0], m[c][w1]), _mm_alignr_epi8(m[c][w3], m[c][w2], 4)), m[c][w3])

/* Rounds 4i .. 4i+3, on message words w. The next words are scheduled during the first two rounds. */
#define ROUNDS(i, w, next)                                                                                             \
    do {                                                                                                               \
        ADD_CONSTANTS(i, w);                                                                                           \
        TWO_ROUNDS;                                                                                                    \
        next;                                                                                                          \
        TWO_MORE;                                                                                                      \
    } while (0)

#define SIXTEEN_ROUNDS(i, next)                                                                                        \
    do {                                                                                                               \
        ROUNDS(i, 0, SCHEDULE(1, 2, 3, 0));                                                                            \
        ROUNDS((i) + 1, 1, SCHEDULE(2, 3, 0, 1));                                                                      \
        ROUNDS((i) + 2, 2, SCHEDULE(3, 0, 1, 2));                                                                      \
        ROUNDS((i) + 3, 3, next);                                                                                      \
    } while (0)

/* One compression in each of n chains. n and `padded` are constants at every call, so that the loops are unrolled.
 *
 * `padded`: words 8 to 15 are the padding of a 96-byte message, 0x80000000, 0, ..., 0, 768, and m[c][2] and m[c][3] do
 * not have to be set. Values that depend only on them are constants, too. */
INLINE UNROLLED void compress(const int n, const int padded, state_t s[], __m128i m[][4])
{
    const __m128i end = _mm_set_epi32(0, 0, 0, (int)0x80000000);
    const __m128i length = _mm_set_epi32((BABAR_BLOCK + 32) * 8, 0, 0, 0);
    state_t before[MAX_CHAINS];
    __m128i kw[MAX_CHAINS];

    EACH_CHAIN before[c] = s[c];
    ROUNDS(0, 0, (void)0);
    ROUNDS(1, 1, (void)0);
    if (padded) {
        const __m128i k2 = _mm_add_epi32(end, CONSTANTS(2)), k3 = _mm_add_epi32(length, CONSTANTS(3));
        EACH_CHAIN kw[c] = k2;
        TWO_ROUNDS;
        TWO_MORE;
        EACH_CHAIN kw[c] = k3;
        TWO_ROUNDS;
        /* W[9] to W[14] are zero and are not added. */
        EACH_CHAIN m[c][0] = _mm_sha256msg2_epu32(_mm_sha256msg1_epu32(m[c][0], m[c][1]), length);
        TWO_MORE;
        ROUNDS(4, 0,
               EACH_CHAIN m[c][1] = _mm_sha256msg2_epu32(
                   _mm_add_epi32(_mm_sha256msg1_epu32(m[c][1], end), _mm_alignr_epi8(m[c][0], length, 4)), m[c][0]));
        ROUNDS(5, 1,
               EACH_CHAIN m[c][2] =
                   _mm_sha256msg2_epu32(_mm_add_epi32(end, _mm_alignr_epi8(m[c][1], m[c][0], 4)), m[c][1]));
        ROUNDS(6, 2,
               EACH_CHAIN m[c][3] = _mm_sha256msg2_epu32(
                   _mm_add_epi32(_mm_sha256msg1_epu32(length, m[c][0]), _mm_alignr_epi8(m[c][2], m[c][1], 4)), m[c][2]));
        ROUNDS(7, 3, SCHEDULE(0, 1, 2, 3));
    } else {
        ROUNDS(2, 2, (void)0);
        ROUNDS(3, 3, SCHEDULE(0, 1, 2, 3));
        SIXTEEN_ROUNDS(4, SCHEDULE(0, 1, 2, 3));
    }
    SIXTEEN_ROUNDS(8, SCHEDULE(0, 1, 2, 3));
    SIXTEEN_ROUNDS(12, (void)0);
    EACH_CHAIN s[c].abef = _mm_add_epi32(s[c].abef, before[c].abef);
    EACH_CHAIN s[c].cdgh = _mm_add_epi32(s[c].cdgh, before[c].cdgh);
}

SHANI void babar_sha256_blocks_shani(uint32_t state[8], const uint8_t *data, size_t num_blocks)
{
    const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    state_t s[1] = {load_state(state)};
    __m128i m[1][4];

    for (; num_blocks; num_blocks--, data += BABAR_BLOCK) {
        for (int i = 0; i < 4; i++)
            m[0][i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)(data + 16 * i)), big_endian);
        compress(1, 0, s, m);
    }
    unpack(s[0], &m[0][0], &m[0][1]);
    store_words(state, m[0][0], m[0][1]);
}

/* `count` iterations in each of n derivations: U = HMAC(password, U), T ^= U. */
INLINE UNROLLED void iterate(const int n, babar_pbkdf2 *const derivations[], uint32_t count)
{
    state_t inner[MAX_CHAINS], outer[MAX_CHAINS], s[MAX_CHAINS];
    __m128i m[MAX_CHAINS][4], t[MAX_CHAINS][2];

    for (int c = 0; c < n; c++) {
        inner[c] = load_state(derivations[c]->inner);
        outer[c] = load_state(derivations[c]->outer);
        for (int i = 0; i < 2; i++) {
            m[c][i] = _mm_loadu_si128((const __m128i *)(const void *)(derivations[c]->u + 4 * i));
            t[c][i] = _mm_loadu_si128((const __m128i *)(const void *)(derivations[c]->t + 4 * i));
        }
    }
    while (count--) {
        EACH_CHAIN s[c] = inner[c];
        compress(n, 1, s, m);
        EACH_CHAIN unpack(s[c], &m[c][0], &m[c][1]);
        EACH_CHAIN s[c] = outer[c];
        compress(n, 1, s, m);
        EACH_CHAIN unpack(s[c], &m[c][0], &m[c][1]);
        EACH_CHAIN t[c][0] = _mm_xor_si128(t[c][0], m[c][0]);
        EACH_CHAIN t[c][1] = _mm_xor_si128(t[c][1], m[c][1]);
    }
    for (int c = 0; c < n; c++) {
        store_words(derivations[c]->u, m[c][0], m[c][1]);
        store_words(derivations[c]->t, t[c][0], t[c][1]);
    }
}

SHANI void babar_pbkdf2_iterate_shani(babar_pbkdf2 *const derivations[], uint32_t count)
{
    iterate(1, derivations, count);
}

SHANI void babar_pbkdf2_iterate3_shani(babar_pbkdf2 *const derivations[], uint32_t count)
{
    iterate(3, derivations, count);
}

#endif
