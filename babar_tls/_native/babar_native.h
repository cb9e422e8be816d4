/* The functions that the extension provides to Python. This header is also cffi's cdef and therefore contains only
 * plain declarations. internal.h contains the declarations that only the C files use.
 *
 * No function allocates memory, keeps a pointer, or changes errno. Several threads may call them at the same time if
 * they write to different memory. babar_select must be called before other threads use the functions.
 */
#ifndef BABAR_NATIVE_H
#define BABAR_NATIVE_H

#include <stddef.h>
#include <stdint.h>

/* Kernels: implementations of SHA-256's compression function. */
size_t babar_kernel_count(void);
const char *babar_kernel_name(size_t index); /* NULL after the last */
int babar_kernel_capable(size_t index);      /* 1 if this CPU supports it */
size_t babar_kernel_lanes(size_t index);     /* simultaneous derivations on this CPU */
int babar_select(const char *name);          /* 0; or -1 if unknown or not supported */
const char *babar_selected(void);            /* "portable" if this CPU has no SHA instructions */

/* SHA-256 (FIPS 180-4) and HMAC-SHA-256 (RFC 2104) of whole messages. */
void babar_sha256(const uint8_t *data, size_t length, uint8_t digest[32]);
void babar_hmac_sha256(const uint8_t *key, size_t key_length, const uint8_t *data, size_t length, uint8_t mac[32]);
/* The compression of full blocks by the kernel, for tests. */
void babar_sha256_blocks(uint32_t state[8], const uint8_t *data, size_t num_blocks);

/* PBKDF2-HMAC-SHA-256 (RFC 8018, section 5.2), one block of output, in any number of steps.
 * A count of 0 iterations is treated as 1. */
typedef struct {
    uint32_t inner[8]; /* SHA-256 after the inner key block (RFC 2104: K xor ipad) */
    uint32_t outer[8]; /* after the outer one */
    uint32_t u[8];     /* U_i, as words */
    uint32_t t[8];     /* U_1 xor ... xor U_i */
    uint32_t remaining; /* iterations still to do */
} babar_pbkdf2;

void babar_pbkdf2_begin(babar_pbkdf2 *derivation, const uint8_t *password, size_t password_length,
                        const uint8_t *salt, size_t salt_length, uint32_t iterations);
/* Do at most `most` more iterations. Return the number of remaining iterations. */
uint32_t babar_pbkdf2_step(babar_pbkdf2 *derivation, uint32_t most);
/* Do the same for `count` independent derivations, interleaved if the kernel supports it. Return the number of
 * unfinished derivations. */
size_t babar_pbkdf2_step_many(babar_pbkdf2 *derivations, size_t count, uint32_t most);
/* Write the 32 bytes of output, and wipe the derivation. */
void babar_pbkdf2_finish(babar_pbkdf2 *derivation, uint8_t derived_key[32]);

/* ClientKey, StoredKey, ServerKey of a SaltedPassword (RFC 5802, section 3), one after the other: 96 bytes. */
void babar_scram_keys(const uint8_t salted_password[32], uint8_t keys[96]);

/* tls-server-end-point (RFC 5929, section 4.1). A positive result is the hash function of the certificate. If it is
 * BABAR_HASH_SHA256, `digest` has been computed. A negative result is a reason. */
#define BABAR_HASH_SHA256 1
#define BABAR_HASH_SHA224 2
#define BABAR_HASH_SHA384 3
#define BABAR_HASH_SHA512 4
#define BABAR_HASH_SHA512_224 5
#define BABAR_HASH_SHA512_256 6
#define BABAR_HASH_SHA3_224 7
#define BABAR_HASH_SHA3_256 8
#define BABAR_HASH_SHA3_384 9
#define BABAR_HASH_SHA3_512 10
#define BABAR_NOT_A_CERTIFICATE -1
#define BABAR_NO_HASH -2
int babar_end_point_hash(const uint8_t *der, size_t length, uint8_t digest[32]);

/* Overwrite memory in a way that no compiler removes. */
void babar_wipe(void *memory, size_t length);

#endif
