"""The end-point hash in C is equal to that in Python and to that of `cryptography`."""

from __future__ import annotations

import hashlib
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from babar_tls.errors import ChannelBindingUnsupported
from babar_tls.protocol.channel_binding import end_point_hash_name

from .helper import compiled

x509 = pytest.importorskip("cryptography.x509", reason="pip install 'babar-tls[demo]'")
testing = pytest.importorskip("babar_tls.testing", reason="pip install 'babar-tls[demo]'")

HASHES = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512", "sha3-224", "sha3-256", "sha3-384", "sha3-512")


def _corpus() -> list[bytes]:
    """Yield a certificate for each signature algorithm."""
    found = []
    for key in ("rsa2048", "p256", "p384", "p521", "ed25519", "ed448"):
        authority = testing.CertificateAuthority(key)
        for name in HASHES:
            for padding in ("pkcs1v15", "pss"):
                try:
                    found.append(authority.issue("localhost", hash=name, padding=padding).der)
                except ValueError:
                    continue  # the combination does not exist
    return found


CORPUS = _corpus()


def in_python(der: bytes) -> str | None:
    try:
        return end_point_hash_name(der)
    except ChannelBindingUnsupported:
        return None


def check(der: bytes) -> str | None:
    """Return the result in C, and check that it is that of Python."""
    name, digest = compiled.end_point_hash(der)
    assert name == in_python(der)
    assert digest == (hashlib.sha256(der).digest() if name == "sha256" else None)
    return name


@pytest.mark.parametrize("der", CORPUS)
def test_hash_function_follows_every_signature_algorithm(der: bytes) -> None:
    """MD5 and SHA-1 are replaced by SHA-256 (RFC 5929 §4.1)."""
    name = check(der)
    assert name == in_python(der)
    try:
        algorithm: Any = x509.load_der_x509_certificate(der).signature_hash_algorithm
    except Exception:
        return
    own = algorithm.name.replace("-", "_") if algorithm else None
    assert name == ("sha256" if own in ("md5", "sha1") else own)


@settings(deadline=None, max_examples=1000)
@given(data=st.data())
def test_mutated_certificates_have_the_same_result_in_c_and_python(data: st.DataObject) -> None:
    der = bytearray(data.draw(st.sampled_from(CORPUS)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(der) - 1))
        change = data.draw(st.sampled_from(["set", "remove", "insert", "cut"]))
        if change == "set":
            der[at] = data.draw(st.integers(0, 255))
        elif change == "remove":
            del der[at]
        elif change == "insert":
            der.insert(at, data.draw(st.integers(0, 255)))
        else:
            del der[at + 1 :]
        if not der:
            break
    check(bytes(der))


def test_certificates_with_one_changed_bit_have_the_same_result() -> None:
    small = {in_python(der): der for der in CORPUS if len(der) < 900}
    for der in small.values():
        for at in range(len(der)):
            for bit in range(8):
                check(der[:at] + bytes([der[at] ^ 1 << bit]) + der[at + 1 :])


def test_truncated_or_extended_certificate_is_refused() -> None:
    for der in CORPUS:
        cuts = random.Random(3).sample(range(len(der)), 40)  # noqa: S311 - test data
        for piece in (*(der[:cut] for cut in cuts), der + b"\0"):
            assert check(piece) is None
            assert in_python(piece) is None
