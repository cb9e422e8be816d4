/* PBKDF2 with AVX-512: sixteen derivations, one in each 32-bit lane of every register.
 *
 * It uses no SHA instructions. A vector holds one variable of the compression function (a, b, ..., a message word) for all
 * sixteen. Rotations (vprord) and functions of three bits (vpternlogd) are single instructions. A single
 * derivation would be slow, but sixteen together are faster than the SHA unit, which does one step at a time.
 */
#include "internal.h"

#ifdef BABAR_X86

#include <immintrin.h>
#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
#else
#include <cpuid.h>
#endif

#define AVX512 BABAR_TARGET("avx512f")
#define LANES BABAR_WIDE_LANES

#if defined(__clang__)
#define ALL_ROUNDS _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define ALL_ROUNDS _Pragma("GCC unroll 64")
#else
#define ALL_ROUNDS
#endif

static int probe(void)
{
    unsigned leaf1[4] = {0}, leaf7[4] = {0};
    unsigned saved;
#if defined(_MSC_VER) && !defined(__clang__)
    __cpuid((int *)leaf1, 0);
    if (leaf1[0] < 7)
        return 0;
    __cpuid((int *)leaf1, 1);
    __cpuidex((int *)leaf7, 7, 0);
    if (!(leaf1[2] >> 27 & 1))
        return 0;
    saved = (unsigned)_xgetbv(0);
#else
    unsigned high;
    if (!__get_cpuid(1, &leaf1[0], &leaf1[1], &leaf1[2], &leaf1[3]) ||
        !__get_cpuid_count(7, 0, &leaf7[0], &leaf7[1], &leaf7[2], &leaf7[3]) || !(leaf1[2] >> 27 & 1))
        return 0;
    __asm__ volatile("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));
    (void)high;
#endif
    /* AVX512F, if the operating system saves XMM, YMM, masks and both halves of ZMM. */
    return leaf7[1] >> 16 & 1 && (saved & 0xe6) == 0xe6;
}

/* Cached, because cpuid is slow under a hypervisor. All threads have the same result. */
int babar_avx512_capable(void)
{
    static volatile signed char known;
    if (!known)
        known = probe() ? 1 : -1;
    return known > 0;
}

#define ADD(x, y) _mm512_add_epi32(x, y)
#define ROTATE(x, n) _mm512_ror_epi32(x, n)
/* vpternlogd's truth tables: exclusive or of three; choose; majority. */
#define XOR3(x, y, z) _mm512_ternarylogic_epi32(x, y, z, 0x96)
#define CH(x, y, z) _mm512_ternarylogic_epi32(x, y, z, 0xca)
#define MAJ(x, y, z) _mm512_ternarylogic_epi32(x, y, z, 0xe8)
#define BIG_SIGMA0(x) XOR3(ROTATE(x, 2), ROTATE(x, 13), ROTATE(x, 22))
#define BIG_SIGMA1(x) XOR3(ROTATE(x, 6), ROTATE(x, 11), ROTATE(x, 25))
#define SIGMA0(x) XOR3(ROTATE(x, 7), ROTATE(x, 18), _mm512_srli_epi32(x, 3))
#define SIGMA1(x) XOR3(ROTATE(x, 17), ROTATE(x, 19), _mm512_srli_epi32(x, 10))

/* W[8] to W[15] are the padding of a 96-byte message, 0x80000000, 0, ..., 0, 768. Zero words are not added.
 * After the loop is unrolled every i is a constant, so that the condition costs nothing. */
#define PADDING(i) ((i) == 8 ? 0x80000000U : (i) == 15 ? (BABAR_BLOCK + 32) * 8U : 0U)
#define IS_ZERO(i) ((i) > 8 && (i) < 15)

/* A round depends on the previous one: e depends on d through a rotation, an exclusive or and two additions. All other
 * terms are added before. A compiler could otherwise use associativity to move them into this chain. */
#if defined(__GNUC__) || defined(__clang__)
#define AS_WRITTEN(x) __asm__("" : "+v"(x))
#else
#define AS_WRITTEN(x) ((void)0)
#endif

/* Round i, with the eight variables by their names in this round. */
#define ROUND(a, b, c, d, e, f, g, h, i)                                                                               \
    do {                                                                                                               \
        if ((i) >= 16) {                                                                                               \
            if (!IS_ZERO((i) - 15))                                                                                    \
                w[(i) & 15] = ADD(w[(i) & 15], SIGMA0(w[((i) + 1) & 15]));                                             \
            if (!IS_ZERO((i) - 7))                                                                                     \
                w[(i) & 15] = ADD(w[(i) & 15], w[((i) + 9) & 15]);                                                     \
            if (!IS_ZERO((i) - 2))                                                                                     \
                w[(i) & 15] = ADD(w[(i) & 15], SIGMA1(w[((i) + 14) & 15]));                                            \
        }                                                                                                              \
        if ((i) >= 8 && (i) < 16)                                                                                      \
            h = ADD(h, _mm512_set1_epi32((int)(babar_sha256_k[i] + PADDING(i))));                                      \
        else                                                                                                           \
            h = ADD(h, ADD(w[(i) & 15], _mm512_set1_epi32((int)babar_sha256_k[i])));                                   \
        d = ADD(d, h);                                                                                                 \
        AS_WRITTEN(h);                                                                                                 \
        AS_WRITTEN(d);                                                                                                 \
        t = ADD(BIG_SIGMA1(e), CH(e, f, g));                                                                           \
        AS_WRITTEN(t);                                                                                                 \
        d = ADD(d, t);                                                                                                 \
        h = ADD(h, t);                                                                                                 \
        AS_WRITTEN(h);                                                                                                 \
        h = ADD(h, ADD(BIG_SIGMA0(a), MAJ(a, b, c)));                                                                  \
    } while (0)

/* One compression (FIPS 180-4, section 6.2.2) in every lane: from `midstate` and the eight words in `u` to
 * the state in `u`. */
static inline AVX512 void hash_words(const __m512i midstate[8], __m512i u[8])
{
    __m512i a = midstate[0], b = midstate[1], c = midstate[2], d = midstate[3];
    __m512i e = midstate[4], f = midstate[5], g = midstate[6], h = midstate[7];
    __m512i t, w[16];

    for (int i = 0; i < 8; i++) {
        w[i] = u[i];
        w[i + 8] = _mm512_set1_epi32((int)PADDING(i + 8));
    }
    ALL_ROUNDS for (int i = 0; i < 64; i += 8)
    {
        ROUND(a, b, c, d, e, f, g, h, i);
        ROUND(h, a, b, c, d, e, f, g, i + 1);
        ROUND(g, h, a, b, c, d, e, f, i + 2);
        ROUND(f, g, h, a, b, c, d, e, i + 3);
        ROUND(e, f, g, h, a, b, c, d, i + 4);
        ROUND(d, e, f, g, h, a, b, c, i + 5);
        ROUND(c, d, e, f, g, h, a, b, i + 6);
        ROUND(b, c, d, e, f, g, h, a, i + 7);
    }
    u[0] = ADD(midstate[0], a);
    u[1] = ADD(midstate[1], b);
    u[2] = ADD(midstate[2], c);
    u[3] = ADD(midstate[3], d);
    u[4] = ADD(midstate[4], e);
    u[5] = ADD(midstate[5], f);
    u[6] = ADD(midstate[6], g);
    u[7] = ADD(midstate[7], h);
}

/* Gather the same word of every derivation into one vector. */
#define GATHER(registers, member)                                                                                      \
    for (int i = 0; i < 8; i++) {                                                                                      \
        for (int lane = 0; lane < LANES; lane++)                                                                       \
            words[lane] = derivations[lane]->member[i];                                                                \
        (registers)[i] = _mm512_loadu_si512(words);                                                                    \
    }

#define SCATTER(registers, member)                                                                                     \
    for (int i = 0; i < 8; i++) {                                                                                      \
        _mm512_storeu_si512(words, (registers)[i]);                                                                    \
        for (int lane = 0; lane < LANES; lane++)                                                                       \
            derivations[lane]->member[i] = words[lane];                                                                \
    }

AVX512 void babar_pbkdf2_iterate_avx512(babar_pbkdf2 *const derivations[], uint32_t count)
{
    uint32_t words[LANES];
    __m512i inner[8], outer[8], u[8], t[8];

    GATHER(inner, inner)
    GATHER(outer, outer)
    GATHER(u, u)
    GATHER(t, t)
    while (count--) {
        hash_words(inner, u);
        hash_words(outer, u);
        for (int i = 0; i < 8; i++)
            t[i] = _mm512_xor_si512(t[i], u[i]);
    }
    SCATTER(u, u)
    SCATTER(t, t)
}

#endif
