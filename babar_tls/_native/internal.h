/* Declarations that the C files share: the interface of the kernels, and the table from which dispatch.c selects. */
#ifndef BABAR_INTERNAL_H
#define BABAR_INTERNAL_H

#include "babar_native.h"

#define BABAR_BLOCK 64
#define BABAR_WIDE_LANES 16 /* maximum simultaneous derivations of any kernel */

#if defined(__x86_64__) || defined(_M_X64)
#define BABAR_X86 1
#endif
/* Little-endian only. Before Clang 16 the whole file must be compiled for SHA2, because its arm_neon.h hides the
 * intrinsics otherwise. */
#if (defined(__aarch64__) && !defined(__AARCH64EB__)) || defined(_M_ARM64)
#if !defined(__clang__) || __clang_major__ >= 16 || defined(__ARM_FEATURE_SHA2)
#define BABAR_ARM 1
#endif
#endif

/* Special instructions are enabled per function, not per file, so that one object runs on every CPU of its family. */
#if defined(__GNUC__) || defined(__clang__)
#define BABAR_TARGET(isa) __attribute__((target(isa)))
#else
#define BABAR_TARGET(isa)
#endif

typedef void babar_blocks_function(uint32_t state[8], const uint8_t *data, size_t num_blocks);
/* Do `count` iterations, at least one, of `lanes` derivations. The caller updates `remaining`. */
typedef void babar_iterate_function(babar_pbkdf2 *const derivations[], uint32_t count);

/* A function for several simultaneous derivations. */
typedef struct {
    int (*capable)(void);
    babar_iterate_function *iterate;
    size_t lanes;
} babar_group;

typedef struct {
    const char *name;
    int (*capable)(void);
    babar_blocks_function *blocks;
    babar_iterate_function *iterate; /* one derivation */
    babar_group groups[2];           /* several, largest first; groups without lanes or not supported are skipped */
} babar_kernel;

/* The selected kernel. It is never NULL: without special instructions it is the portable kernel. */
const babar_kernel *babar_current(void);

extern const uint32_t babar_sha256_k[64];

/* HMAC in two halves: the midstates after the key blocks; and the end, where `inner` has hashed `done` bytes so far, key
 * block included, and `data` is the rest. */
void babar_hmac_begin(const uint8_t *key, size_t key_length, uint32_t inner[8], uint32_t outer[8]);
void babar_hmac_finish(const uint32_t inner[8], uint64_t done, const uint32_t outer[8], const uint8_t *data,
                       size_t length, uint8_t mac[32]);

int babar_sha256_portable_capable(void);
babar_blocks_function babar_sha256_blocks_portable;
babar_iterate_function babar_pbkdf2_iterate_portable;

#ifdef BABAR_X86
int babar_sha256_shani_capable(void);
babar_blocks_function babar_sha256_blocks_shani;
babar_iterate_function babar_pbkdf2_iterate_shani;
babar_iterate_function babar_pbkdf2_iterate3_shani;
int babar_avx512_capable(void);
babar_iterate_function babar_pbkdf2_iterate_avx512;
#endif

#ifdef BABAR_ARM
int babar_sha256_armv8_capable(void);
babar_blocks_function babar_sha256_blocks_armv8;
babar_iterate_function babar_pbkdf2_iterate_armv8;
babar_iterate_function babar_pbkdf2_iterate3_armv8;
#endif

static inline uint32_t babar_load32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | (uint32_t)bytes[3];
}

static inline void babar_store32(uint8_t *bytes, uint32_t word)
{
    bytes[0] = (uint8_t)(word >> 24);
    bytes[1] = (uint8_t)(word >> 16);
    bytes[2] = (uint8_t)(word >> 8);
    bytes[3] = (uint8_t)word;
}

#endif
