"""Write the seeds of the fuzzers: certificates with each signature algorithm, and cases for PBKDF2.

Run it with babar-tls and its extra `demo` installed. The keys, and therefore the files, are different each time.
"""

from __future__ import annotations

from pathlib import Path

from babar_tls.testing import CertificateAuthority

SEEDS = Path(__file__).with_name("seeds")

RSA_SHA256 = "2a864886f70d01010b"
ECDSA_SHA256 = "2a8648ce3d040302"
ED25519 = "2b6570"
RSA_SHA3_512 = "608648016503040310"
PSS = "2a864886f70d01010a"
MGF1 = "2a864886f70d010108"
SHA1, SHA384, SHA512_256 = "2b0e03021a", "608648016503040202", "608648016503040206"


def der(tag: int, *contents: bytes) -> bytes:
    """Return one element of less than 256 bytes."""
    content = b"".join(contents)
    return bytes([tag, *([0x81] if len(content) >= 0x80 else []), len(content)]) + content


def identifier(oid: str, parameters: bytes = b"") -> bytes:
    """Return an AlgorithmIdentifier."""
    return der(0x30, der(0x06, bytes.fromhex(oid)), parameters)


def outline(oid: str, parameters: bytes = b"") -> bytes:
    """Return a certificate with only the parts that the end-point hash uses."""
    return der(0x30, der(0x30), identifier(oid, parameters), der(0x03, b"\0"))


def certificates() -> dict[str, bytes]:
    """Yield the name and the DER of each certificate."""
    null = der(0x05)
    whole_pss = [
        der(0xA0, identifier(SHA384, null)),
        der(0xA1, identifier(MGF1, identifier(SHA384, null))),
        der(0xA2, der(0x02, b"\x30")),
        der(0xA3, der(0x02, b"\x01")),
    ]
    ecdsa, rsa, ed448 = (CertificateAuthority(key) for key in ("p256", "rsa2048", "ed448"))
    return {
        "outline-rsa-sha256": outline(RSA_SHA256, null),
        "outline-ecdsa-sha256": outline(ECDSA_SHA256),
        "outline-ed25519": outline(ED25519),
        "outline-rsa-sha3-512": outline(RSA_SHA3_512, null),
        "outline-pss-default": outline(PSS, der(0x30)),
        "outline-pss-sha1": outline(PSS, der(0x30, der(0xA0, identifier(SHA1)))),
        "outline-pss-sha512-256": outline(PSS, der(0x30, der(0xA0, identifier(SHA512_256)))),
        "outline-pss-sha384": outline(PSS, der(0x30, *whole_pss)),
        "ecdsa-sha384": ecdsa.issue("localhost", hash="sha384").der,
        "ed448": ed448.issue("localhost").der,
        "rsa-pss-sha256": rsa.issue("localhost", padding="pss").der,
        "rsa-sha1": rsa.issue("localhost", hash="sha1").der,
    }


def derivations() -> dict[str, bytes]:
    """Yield the name and the input of each case.

    An input is: iterations, step, lengths of password and salt, offset, password and salt.
    """
    filler = bytes(range(256)) * 2
    lengths = [(0, 0), (8, 16), (63, 55), (64, 56), (65, 59), (64, 60), (100, 63), (1, 64), (200, 119), (64, 128)]
    return {
        f"{password}-{salt}": bytes([i + 1, i, password, salt, i]) + filler[: password + salt + i]
        for i, (password, salt) in enumerate(lengths)
    }


def main() -> None:
    """Write all seeds."""
    for folder, suffix, seeds in (("certificate", "der", certificates()), ("pbkdf2", "bin", derivations())):
        (SEEDS / folder).mkdir(parents=True, exist_ok=True)
        for name, data in seeds.items():
            (SEEDS / folder / f"{name}.{suffix}").write_bytes(data)


if __name__ == "__main__":
    main()
