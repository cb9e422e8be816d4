/* tls-server-end-point (RFC 5929, section 4.1): from a certificate's bytes to the hash function that its signature
 * names, and the hash.
 *
 *     Certificate ::= SEQUENCE { tbsCertificate SEQUENCE, signatureAlgorithm AlgorithmIdentifier, signature BIT STRING }
 *     AlgorithmIdentifier ::= SEQUENCE { algorithm OBJECT IDENTIFIER, parameters ANY OPTIONAL }
 *
 * A reader is a range of memory. Its results lie within this range, so that memory after the certificate is never read.
 * Each iteration of a loop consumes at least two bytes.
 */
#include "internal.h"

#include <string.h>

enum { OID = 0x06, SEQUENCE = 0x30, HASH_ALGORITHM = 0xa0, MAX_CERTIFICATE = 1 << 24 };
enum { MD5 = -3, SHA1 = -4, PSS = -5 }; /* internal codes: replaced, replaced, see the parameters */

typedef struct {
    const uint8_t *at;
    size_t left;
} reader;

/* Read the next element: set `content`, and return the tag, or a negative value if there is no element. */
static int next(reader *from, reader *content)
{
    size_t header = 2, length;
    if (from->left < 2 || (from->at[0] & 0x1f) == 0x1f)
        return -1;
    length = from->at[1];
    if (length >= 0x80) {
        size_t count = length & 0x7f;
        if (count < 1 || count > 4 || from->left < header + count || from->at[2] == 0)
            return -1;
        for (length = 0; count; count--)
            length = length << 8 | from->at[header++];
        if (length < 0x80)
            return -1; /* not the shortest length */
    }
    if (length > from->left - header)
        return -1;
    content->at = from->at + header;
    content->left = length;
    int tag = from->at[0];
    from->at += header + length;
    from->left -= header + length;
    return tag;
}

typedef struct {
    uint8_t length;
    uint8_t bytes[10];
    int8_t hash;
} entry;

/* OIDs of one family differ only in the last byte. */
#define PKCS1(last, hash) {9, {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, last}, hash}
#define ECDSA(last, hash) {8, {0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, last}, hash}
#define NIST_SIGNATURE(last, hash) {9, {0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, last}, hash}
#define NIST_HASH(last, hash) {9, {0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, last}, hash}
#define SHA3(family, first)                                                                                            \
    family(first, BABAR_HASH_SHA3_224), family((first) + 1, BABAR_HASH_SHA3_256),                                      \
        family((first) + 2, BABAR_HASH_SHA3_384), family((first) + 3, BABAR_HASH_SHA3_512)

static const entry signatures[] = {
    PKCS1(4, MD5),
    PKCS1(5, SHA1),
    PKCS1(10, PSS),
    PKCS1(11, BABAR_HASH_SHA256),
    PKCS1(12, BABAR_HASH_SHA384),
    PKCS1(13, BABAR_HASH_SHA512),
    PKCS1(14, BABAR_HASH_SHA224),
    PKCS1(15, BABAR_HASH_SHA512_224),
    PKCS1(16, BABAR_HASH_SHA512_256),
    {7, {0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01}, SHA1}, /* ECDSA (RFC 3279, section 2.2.3) */
    ECDSA(1, BABAR_HASH_SHA224),
    ECDSA(2, BABAR_HASH_SHA256),
    ECDSA(3, BABAR_HASH_SHA384),
    ECDSA(4, BABAR_HASH_SHA512),
    {7, {0x2a, 0x86, 0x48, 0xce, 0x38, 0x04, 0x03}, SHA1}, /* DSA (section 2.2.2) */
    NIST_SIGNATURE(1, BABAR_HASH_SHA224),
    NIST_SIGNATURE(2, BABAR_HASH_SHA256),
    NIST_SIGNATURE(3, BABAR_HASH_SHA384),
    NIST_SIGNATURE(4, BABAR_HASH_SHA512),
    SHA3(NIST_SIGNATURE, 5),  /* DSA */
    SHA3(NIST_SIGNATURE, 9),  /* ECDSA */
    SHA3(NIST_SIGNATURE, 13), /* RSA */
};

static const entry hashes[] = {
    {8, {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x05}, MD5},
    {5, {0x2b, 0x0e, 0x03, 0x02, 0x1a}, SHA1},
    NIST_HASH(1, BABAR_HASH_SHA256),
    NIST_HASH(2, BABAR_HASH_SHA384),
    NIST_HASH(3, BABAR_HASH_SHA512),
    NIST_HASH(4, BABAR_HASH_SHA224),
    NIST_HASH(5, BABAR_HASH_SHA512_224),
    NIST_HASH(6, BABAR_HASH_SHA512_256),
    SHA3(NIST_HASH, 7),
};

#define LOOK_UP(table, oid) look_up(table, sizeof(table) / sizeof *(table), oid)

static int look_up(const entry *table, size_t count, reader oid)
{
    for (size_t i = 0; i < count; i++)
        if (table[i].length == oid.left && memcmp(table[i].bytes, oid.at, oid.left) == 0)
            return table[i].hash;
    return BABAR_NO_HASH;
}

/* The last byte of an OID must end an arc. The OIDs in the table are short. */
static int is_oid(reader content)
{
    return content.left >= 1 && content.left <= 64 && !(content.at[content.left - 1] & 0x80);
}

/* Read the content of an AlgorithmIdentifier: the OID, and at most one element after it. */
static int algorithm(reader content, reader *oid, reader *parameters)
{
    reader rest, ignored;
    if (next(&content, oid) != OID || !is_oid(*oid))
        return -1;
    *parameters = rest = content;
    if (rest.left && (next(&rest, &ignored) < 0 || rest.left))
        return -1;
    return 0;
}

/* RSASSA-PSS-params (RFC 4055, section 3.1): [0] hashAlgorithm, by default SHA-1; [1], [2], [3] are ignored. */
static int pss_hash(reader parameters)
{
    reader fields, field, identifier, oid, ignored;
    int tag, previous = HASH_ALGORITHM - 1, hash = SHA1;

    if (!parameters.left || next(&parameters, &fields) != SEQUENCE)
        return BABAR_NO_HASH;
    while (fields.left) {
        tag = next(&fields, &field);
        if (tag < 0)
            return BABAR_NOT_A_CERTIFICATE;
        if (tag <= previous || tag > HASH_ALGORITHM + 3)
            return BABAR_NO_HASH;
        previous = tag;
        if (tag == HASH_ALGORITHM) {
            if (next(&field, &identifier) != SEQUENCE || field.left || algorithm(identifier, &oid, &ignored) < 0)
                return BABAR_NOT_A_CERTIFICATE;
            hash = LOOK_UP(hashes, oid);
        }
    }
    return hash;
}

int babar_end_point_hash(const uint8_t *der, size_t length, uint8_t digest[32])
{
    reader all = {der, length}, certificate, tbs, identifier, signature, oid, parameters;
    int hash;

    if (length > MAX_CERTIFICATE || next(&all, &certificate) != SEQUENCE || all.left ||
        next(&certificate, &tbs) != SEQUENCE || next(&certificate, &identifier) != SEQUENCE ||
        next(&certificate, &signature) < 0 || certificate.left || algorithm(identifier, &oid, &parameters) < 0)
        return BABAR_NOT_A_CERTIFICATE;
    hash = LOOK_UP(signatures, oid);
    if (hash == PSS)
        hash = pss_hash(parameters);
    if (hash == MD5 || hash == SHA1)
        hash = BABAR_HASH_SHA256;
    if (hash == BABAR_HASH_SHA256)
        babar_sha256(der, length, digest);
    return hash;
}
