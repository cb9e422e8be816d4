"""DER: the Python reader, the C helper, `cryptography` and OpenSSL read the same facts from a damaged certificate."""

from __future__ import annotations

import hashlib
import warnings
from typing import Any

import pytest
from hypothesis import strategies as st

from babar_tls.errors import ChannelBindingUnsupported
from babar_tls.protocol import channel_binding
from babar_tls.protocol.channel_binding import end_point_hash_name
from babar_tls.x509 import names
from babar_tls.x509 import signature_algorithm as module
from babar_tls.x509.certificate import public_key_info
from babar_tls.x509.der import DerError, Element, elements, first_element
from babar_tls.x509.names import subject_names
from babar_tls.x509.signature_algorithm import signature_algorithm

from .mutations import mutated
from .profile import certificate_seeds, corpus, failure, fuzz

x509 = pytest.importorskip("cryptography.x509", reason="cryptography is an oracle: pip install 'babar-tls[demo]'")

from . import openssl  # noqa: E402 - it may skip the module, like the line above

try:
    from babar_tls._native import compiled
except ImportError:
    compiled = None  # type: ignore[assignment]  # the helper is optional

STORED = {**certificate_seeds(), **corpus("certificate")}
SEEDS = list(STORED.values())
WHOLE = [der for der in SEEDS if openssl.parses(der)]

#: Object identifiers that a signature may have, with their tag and length.
IDENTIFIERS = [
    bytes.fromhex("06092a864886f70d010104"),
    bytes.fromhex("06092a864886f70d010105"),
    bytes.fromhex("06092a864886f70d01010a"),
    bytes.fromhex("06092a864886f70d01010b"),
    bytes.fromhex("06092a864886f70d01010d"),
    bytes.fromhex("06092a864886f70d01010f"),
    bytes.fromhex("06092a864886f70d010110"),
    bytes.fromhex("06082a8648ce3d040302"),
    bytes.fromhex("06082a8648ce3d040303"),
    bytes.fromhex("06082a8648ce3d040304"),
    bytes.fromhex("06072a8648ce3d0401"),
    bytes.fromhex("06072a8648ce380403"),
    bytes.fromhex("060960864801650304030a"),
    bytes.fromhex("0609608648016503040310"),
    bytes.fromhex("06032b6570"),
    bytes.fromhex("06032b6571"),
    bytes.fromhex("0609608648016503040311"),
    bytes.fromhex("0609608648016503040201"),
    bytes.fromhex("06052b0e03021a"),
    bytes.fromhex("06082a864886f70d0205"),
]


#: Signatures for which this library has a hash and X509_get_signature_info of OpenSSL 3.0 to 3.5 has none. A server
#: that uses OpenSSL, like PostgreSQL, then fails an exchange with channel binding. OpenSSL 3.5 has ECDSA with SHA-3.
WITHOUT_HASH_IN_OPENSSL = {
    "1.2.840.113549.1.1.15",  # RSA with SHA-512/224
    "1.2.840.113549.1.1.16",  # RSA with SHA-512/256
    "2.16.840.1.101.3.4.3.3",  # DSA with SHA-384
    "2.16.840.1.101.3.4.3.4",  # DSA with SHA-512
    *(f"2.16.840.1.101.3.4.3.{last}" for last in range(5, 9)),  # DSA with SHA-3
    *(f"2.16.840.1.101.3.4.3.{last}" for last in range(9, 13)),  # ECDSA with SHA-3
    "1.2.840.113549.1.1.10",  # RSASSA-PSS whose mask, salt or trailer is damaged: only the hash is read here
}


@st.composite
def other_signatures(draw: st.DrawFn) -> bytes:
    """Replace an object identifier of a certificate at each occurrence by another one of the same length."""
    data = draw(st.sampled_from(WHOLE))
    old = draw(st.sampled_from([each for each in IDENTIFIERS if each in data]))
    new = draw(st.sampled_from([each for each in IDENTIFIERS if len(each) == len(old)]))
    return data.replace(old, new)


@st.composite
def other_bytes(draw: st.DrawFn) -> bytes:
    """Replace one or two bytes of a certificate, which preserves most of its structure."""
    data = bytearray(draw(st.sampled_from(WHOLE)))
    for _ in range(draw(st.integers(1, 2))):
        at = draw(st.integers(0, len(data) - 1))
        data[at] ^= draw(st.sampled_from([1, 2, 4, 8, 16, 32, 64, 128, 255]))
    return bytes(data)


@st.composite
def other_algorithms(draw: st.DrawFn) -> bytes:
    """Return the outer structure of a certificate with any signatureAlgorithm."""
    content = draw(st.sampled_from(IDENTIFIERS) | st.binary(max_size=10).map(lambda oid: element(0x06, oid)))
    parameters = st.sampled_from([b"", element(0x05), element(0x30)])
    fields = st.lists(st.tuples(st.integers(0xA0, 0xA4), st.sampled_from(IDENTIFIERS), parameters), max_size=3).map(
        lambda drawn: element(0x30, *(element(tag, element(0x30, oid, more)) for tag, oid, more in drawn))
    )
    algorithm = element(0x30, content, draw(st.one_of(parameters, fields, st.binary(max_size=4))))
    return element(0x30, element(0x30), algorithm, element(0x03, b"\0"))


def element(tag: int, *contents: bytes) -> bytes:
    content = b"".join(contents)
    assert len(content) < 0x80
    return bytes([tag, len(content)]) + content


CERTIFICATES = st.one_of(mutated(SEEDS), other_bytes(), other_bytes(), other_signatures(), other_algorithms())


def in_python(der: bytes) -> str | None:
    try:
        return end_point_hash_name(der)
    except ChannelBindingUnsupported:
        return None


def replaced(name: str | None) -> str | None:
    """Apply RFC 5929 §4.1: SHA-256 replaces MD5 and SHA-1."""
    return "sha256" if name in ("md5", "sha1") else name


@fuzz(4, der=CERTIFICATES)
def test_all_readers_return_the_same_hash(der: bytes) -> None:
    check_hash(der)


def check_hash(der: bytes) -> None:
    name = in_python(der)
    if compiled is not None:
        digest = hashlib.sha256(der).digest() if name == "sha256" else None
        assert compiled.end_point_hash(der) == (name, digest)
    if name is not None and openssl.parses(der):
        theirs = replaced(openssl.signature_hash(der))
        assert theirs == name or (theirs is None and signature_algorithm(der).oid in WITHOUT_HASH_IN_OPENSSL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # cryptography warns about certificates that future releases will refuse
        try:
            algorithm: Any = x509.load_der_x509_certificate(der).signature_hash_algorithm
        except Exception:  # ValueError, UnsupportedAlgorithm and others for unsupported certificates
            return
    own = None if algorithm is None else algorithm.name.replace("-", "_")
    assert name == replaced(own)


@fuzz(4, der=CERTIFICATES)
def test_names_and_keys_agree_with_cryptography(der: bytes) -> None:
    check_names(der)


def check_names(der: bytes) -> None:
    try:
        ours = subject_names(der)
    except DerError:
        ours = None
    try:
        key = public_key_info(der)
    except DerError:
        key = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as above
        try:
            parsed = x509.load_der_x509_certificate(der)
            common_names = parsed.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
            extensions = parsed.extensions
        except Exception:  # as above
            return
    assert ours is not None
    assert len(ours.readable_alternative_names) <= len(ours.alternative_names)
    assert key is not None
    assert key in parsed.tbs_certificate_bytes
    try:
        alternative = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        alternative = []
    dns = [name.value.encode() for name in alternative if isinstance(name, x509.DNSName)]
    addresses = [
        name.value.packed for name in alternative if isinstance(name, x509.IPAddress) and hasattr(name.value, "packed")
    ]
    assert [name.content for name in ours.alternative_names if not name.is_address] == dns
    assert [
        name.content for name in ours.alternative_names if name.is_address and len(name.content) in (4, 16)
    ] == addresses
    plain = (x509.name._ASN1Type.UTF8String, x509.name._ASN1Type.PrintableString, x509.name._ASN1Type.IA5String)
    if all(name._type in plain for name in common_names):
        assert list(ours.common_names) == [name.value.encode() for name in common_names]


@pytest.mark.parametrize("name", STORED)
def test_stored_certificates_and_their_prefixes_are_read_alike(name: str) -> None:
    der = STORED[name]
    for candidate in (der, der + b"\0", *(der[:cut] for cut in range(0, len(der), 1 + len(der) // 50))):
        check_hash(candidate)
        check_names(candidate)


def test_wrong_default_hash_of_pss_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    correct = channel_binding._pss_hash
    monkeypatch.setattr(channel_binding, "_pss_hash", lambda parameters: correct(parameters) and "sha512")
    assert isinstance(failure(test_all_readers_return_the_same_hash), AssertionError)


def test_reader_that_ignores_trailing_bytes_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(der: bytes, *, strict: bool) -> list[Element]:
        return list(elements(first_element(der).content, strict=strict))[:3]

    monkeypatch.setattr(module, "split_certificate", broken)
    assert failure(test_all_readers_return_the_same_hash) is not None


def test_reader_that_misses_a_name_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    correct = names._alternative_names
    monkeypatch.setattr(names, "_alternative_names", lambda extension: list(correct(extension))[:1])
    assert isinstance(failure(test_names_and_keys_agree_with_cryptography), AssertionError)
