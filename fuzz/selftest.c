/* Self-test of the helper without Python: with sanitizers, with valgrind, and on an emulated CPU. It tests known answers
 * for each kernel that this CPU supports, and compares each with the portable kernel for every alignment and step size.
 *
 * With BABAR_TAINT the secrets are marked as undefined (valgrind's memcheck) or poisoned (MemorySanitizer). A branch or an
 * index that depends on a secret is then reported.
 */
#include "../babar_tls/_native/babar_native.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(BABAR_TAINT) && defined(__has_feature)
#if __has_feature(memory_sanitizer)
#include <sanitizer/msan_interface.h>
#define TAINT(memory, size) __msan_poison(memory, size)
#define UNTAINT(memory, size) __msan_unpoison(memory, size)
#endif
#endif
#if defined(BABAR_TAINT) && !defined(TAINT)
#include <valgrind/memcheck.h>
#define TAINT(memory, size) (void)VALGRIND_MAKE_MEM_UNDEFINED(memory, size)
#define UNTAINT(memory, size) (void)VALGRIND_MAKE_MEM_DEFINED(memory, size)
#endif
#ifndef TAINT
#define TAINT(memory, size) ((void)0)
#define UNTAINT(memory, size) ((void)0)
#endif

enum { MANY = 40, LONGEST = 300 };

static unsigned long checks;

static void check(int holds, const char *what, size_t a, size_t b)
{
    checks++;
    if (!holds) {
        printf("%s: %s fails at %zu, %zu\n", babar_selected(), what, a, b);
        exit(1);
    }
}

static void use(const char *kernel)
{
    check(babar_select(kernel) == 0 && strcmp(babar_selected(), kernel) == 0, "select", 0, 0);
}

static void *exactly(size_t size)
{
    uint8_t *memory = malloc(size ? size : 1);
    if (memory == NULL)
        abort();
    for (size_t i = 0; i < size; i++)
        memory[i] = (uint8_t)(i * 7 + size);
    return memory;
}

static int is_hex(const uint8_t *bytes, const char *hex)
{
    char text[65];
    for (size_t i = 0; i < 32; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    return strcmp(text, hex) == 0;
}

static void derive(const char *password, const char *salt, uint32_t iterations, uint32_t most, uint8_t key[32])
{
    babar_pbkdf2 derivation;
    babar_pbkdf2_begin(&derivation, (const uint8_t *)password, strlen(password), (const uint8_t *)salt, strlen(salt),
                       iterations);
    while (babar_pbkdf2_step(&derivation, most))
        ;
    babar_pbkdf2_finish(&derivation, key);
    for (size_t i = 0; i < sizeof derivation; i++)
        check(((const uint8_t *)&derivation)[i] == 0, "wiped", i, 0);
}

static void known_answers(void)
{
    uint8_t out[32], message[200];

    babar_sha256(NULL, 0, out); /* FIPS 180-4's examples */
    check(is_hex(out, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"), "SHA-256", 0, 0);
    babar_sha256((const uint8_t *)"abc", 3, out);
    check(is_hex(out, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"), "SHA-256", 3, 0);
    babar_sha256((const uint8_t *)"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56, out);
    check(is_hex(out, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"), "SHA-256", 56, 0);
    memset(message, 0xaa, sizeof message); /* RFC 4231, test cases 2 and 6 */
    babar_hmac_sha256((const uint8_t *)"Jefe", 4, (const uint8_t *)"what do ya want for nothing?", 28, out);
    check(is_hex(out, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"), "HMAC", 2, 0);
    babar_hmac_sha256(message, 131, (const uint8_t *)"Test Using Larger Than Block-Size Key - Hash Key First", 54, out);
    check(is_hex(out, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"), "HMAC", 6, 0);
    derive("passwd", "salt", 1, 1, out); /* RFC 7914, section 11, and after RFC 6070 */
    check(is_hex(out, "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"), "PBKDF2", 1, 0);
    derive("password", "salt", 2, 1, out);
    check(is_hex(out, "ae4d0c95af6b46d32d0adff928f06dd02a303f8ef3c251dfd6e2d85a95474c43"), "PBKDF2", 2, 0);
    derive("password", "salt", 4096, 1000, out);
    check(is_hex(out, "c5e478d59288c841aa530db6845c4c8d962893a001ce4e11a4963873aa98134a"), "PBKDF2", 4096, 0);
    derive("password", "salt", 0, 1, out);
    check(is_hex(out, "120fb6cffcf8b32c43e7225256c4f837a86548c92ccc35480805987cb70be17b"), "PBKDF2", 0, 0);
}

static void blocks_against_portable(const char *kernel)
{
    for (size_t blocks = 0; blocks <= 9; blocks++) {
        for (size_t offset = 0; offset < 16; offset++) {
            uint8_t *data = exactly(offset + 64 * blocks);
            uint32_t expected[8] = {1, 2, 3, 4, 5, 6, 7, 0xffffffff}, state[8];
            memcpy(state, expected, sizeof state);
            use("portable");
            babar_sha256_blocks(expected, data + offset, blocks);
            use(kernel);
            babar_sha256_blocks(state, data + offset, blocks);
            check(memcmp(state, expected, sizeof state) == 0, "blocks", blocks, offset);
            free(data);
        }
    }
    for (size_t length = 0; length <= LONGEST; length++) {
        uint8_t *data = exactly(length), expected[32], out[32], expected_keys[96], keys[96];
        use("portable");
        babar_hmac_sha256(data, length, data, LONGEST - length < length ? LONGEST - length : length, expected);
        babar_scram_keys(expected, expected_keys);
        use(kernel);
        babar_hmac_sha256(data, length, data, LONGEST - length < length ? LONGEST - length : length, out);
        babar_scram_keys(out, keys);
        check(memcmp(out, expected, 32) == 0, "HMAC", length, 0);
        check(memcmp(keys, expected_keys, 96) == 0, "SCRAM keys", length, 0);
        free(data);
    }
}

static void derivations_against_portable(const char *kernel)
{
    static const uint32_t steps[] = {1, 2, 3, 7, 100};

    for (size_t count = 0; count <= MANY; count += count < 9 ? 1 : 10) {
        for (size_t s = 0; s < sizeof steps / sizeof *steps; s++) {
            babar_pbkdf2 *derivations = exactly(count * sizeof *derivations);
            uint8_t expected[32], out[32];
            for (size_t i = 0; i < count; i++) {
                uint8_t *secret = exactly(i * 5), *salt = exactly(i * 9);
                babar_pbkdf2_begin(&derivations[i], secret, i * 5, salt, i * 9, (uint32_t)(1 + i * i % 11));
                free(secret);
                free(salt);
            }
            size_t left, before = count + 1, turns = 0;
            while ((left = babar_pbkdf2_step_many(derivations, count, steps[s])) != 0) {
                check(left <= before && ++turns < 20, "step_many ends", count, s);
                before = left;
            }
            for (size_t i = 0; i < count; i++) {
                uint8_t *secret = exactly(i * 5), *salt = exactly(i * 9);
                babar_pbkdf2 alone;
                use("portable");
                babar_pbkdf2_begin(&alone, secret, i * 5, salt, i * 9, (uint32_t)(1 + i * i % 11));
                while (babar_pbkdf2_step(&alone, UINT32_MAX))
                    ;
                babar_pbkdf2_finish(&alone, expected);
                use(kernel);
                babar_pbkdf2_finish(&derivations[i], out);
                check(memcmp(out, expected, 32) == 0, "step_many", count, i);
                free(secret);
                free(salt);
            }
            free(derivations);
        }
    }
}

/* This function compares nothing, because values computed from a secret are secret. */
static void secrets_decide_nothing(void)
{
    uint8_t password[100], salt[70], key[32], keys[96];
    babar_pbkdf2 derivations[5];

    memset(salt, 1, sizeof salt);
    for (size_t length = 0; length <= sizeof password; length += 20) {
        memset(password, 'x', sizeof password);
        TAINT(password, sizeof password);
        for (size_t i = 0; i < 5; i++)
            babar_pbkdf2_begin(&derivations[i], password, length, salt, sizeof salt, 4);
        babar_pbkdf2_step(&derivations[0], 2);
        while (babar_pbkdf2_step_many(derivations, 5, 2))
            ;
        for (size_t i = 0; i < 5; i++)
            babar_pbkdf2_finish(&derivations[i], key);
        babar_scram_keys(key, keys);
        UNTAINT(password, sizeof password);
        UNTAINT(key, sizeof key);
        UNTAINT(keys, sizeof keys);
        checks++;
    }
}

static void certificates(void)
{
    /* The outer structure of certificates signed with ECDSA and SHA-256, and with Ed25519. */
    static const uint8_t ecdsa[] = {0x30, 0x14, 0x30, 0x00, 0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48,
                                    0xce, 0x3d, 0x04, 0x03, 0x02, 0x03, 0x04, 0x00, 0x01, 0x02, 0x03};
    static const uint8_t ed25519[] = {0x30, 0x0d, 0x30, 0x00, 0x30, 0x05, 0x06, 0x03,
                                      0x2b, 0x65, 0x70, 0x03, 0x02, 0x00, 0x01};
    uint8_t digest[32], expected[32];

    check(babar_end_point_hash(ecdsa, sizeof ecdsa, digest) == BABAR_HASH_SHA256, "ECDSA", 0, 0);
    babar_sha256(ecdsa, sizeof ecdsa, expected);
    check(memcmp(digest, expected, 32) == 0, "ECDSA", 1, 0);
    check(babar_end_point_hash(ed25519, sizeof ed25519, digest) == BABAR_NO_HASH, "Ed25519", 0, 0);
    for (size_t length = 0; length < sizeof ecdsa; length++) {
        uint8_t *piece = malloc(length ? length : 1);
        if (piece == NULL)
            abort();
        memcpy(piece, ecdsa, length);
        check(babar_end_point_hash(piece, length, digest) == BABAR_NOT_A_CERTIFICATE, "truncated", length, 0);
        free(piece);
    }
}

int main(void)
{
    uint8_t memory[100];

    memset(memory, 1, sizeof memory);
    babar_wipe(memory + 1, 98);
    for (size_t i = 0; i < sizeof memory; i++)
        check(memory[i] == (i == 0 || i == 99), "wipe", i, 0);
    check(babar_select("") == -1 && babar_select("no such kernel") == -1, "select", 0, 0);
    check(babar_kernel_name(babar_kernel_count()) == NULL && !babar_kernel_capable(babar_kernel_count()), "end", 0, 0);
    printf("selftest:");
    for (size_t i = 0; i < babar_kernel_count(); i++) {
        const char *kernel = babar_kernel_name(i);
        if (!babar_kernel_capable(i)) {
            printf(" (not %s)", kernel);
            continue;
        }
        use(kernel);
        known_answers();
        blocks_against_portable(kernel);
        derivations_against_portable(kernel);
        secrets_decide_nothing();
        certificates();
        printf(" %s", kernel);
    }
    printf(": %lu checks hold\n", checks);
    return 0;
}
