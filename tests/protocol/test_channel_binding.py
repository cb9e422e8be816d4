"""The end-point hash follows RFC 5929 and OpenSSL; without a hash, the error has the reason."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from babar_tls.errors import ChannelBindingUnsupported
from babar_tls.protocol.channel_binding import channel_binding_data, end_point_hash_name, tls_server_end_point

from .script import ECDSA_SHA384, ED25519, Facts, certificate, der, oid

if TYPE_CHECKING:
    from collections.abc import Callable

PSS = "1.2.840.113549.1.1.10"
SHA512 = "2.16.840.1.101.3.4.2.3"
RSA_SHA256 = "1.2.840.113549.1.1.11"


def pss(*fields: bytes) -> bytes:
    return certificate(PSS, der(0x30, *fields))


def pss_hash(dotted: str, *more: bytes) -> bytes:
    return der(0xA0, der(0x30, oid(dotted), *more))


def test_certificate_without_proof_of_possession_does_not_bind() -> None:
    """An attacker could send a copy of the certificate."""
    unproven = Facts(possession_proven=False)
    with pytest.raises(ChannelBindingUnsupported, match="has the private key of its certificate") as caught:
        channel_binding_data("tls-server-end-point", unproven.to_facts())
    assert caught.value.remedy
    assert (
        channel_binding_data("tls-exporter", unproven.to_facts("tls-exporter")).data == b"E" * 32
    )  # depends on this connection only


@pytest.mark.parametrize(
    ("signature", "name"),
    [
        ("1.2.840.113549.1.1.4", "sha256"),  # md5WithRSAEncryption
        ("1.2.840.113549.1.1.5", "sha256"),  # sha1WithRSAEncryption
        ("1.2.840.113549.1.1.14", "sha224"),
        ("1.2.840.113549.1.1.11", "sha256"),
        ("1.2.840.113549.1.1.12", "sha384"),
        ("1.2.840.113549.1.1.13", "sha512"),
        ("1.2.840.113549.1.1.15", "sha512_224"),
        ("1.2.840.113549.1.1.16", "sha512_256"),
        ("1.2.840.10045.4.1", "sha256"),  # ecdsa-with-SHA1
        ("1.2.840.10045.4.3.1", "sha224"),
        ("1.2.840.10045.4.3.2", "sha256"),
        ("1.2.840.10045.4.3.3", "sha384"),
        ("1.2.840.10045.4.3.4", "sha512"),
        ("1.2.840.10040.4.3", "sha256"),  # dsa-with-SHA1
        ("2.16.840.1.101.3.4.3.1", "sha224"),  # dsa-with-SHA224
        ("2.16.840.1.101.3.4.3.2", "sha256"),
        ("2.16.840.1.101.3.4.3.3", "sha384"),
        ("2.16.840.1.101.3.4.3.4", "sha512"),
        ("2.16.840.1.101.3.4.3.9", "sha3_224"),  # ecdsa-with-SHA3-224
        ("2.16.840.1.101.3.4.3.12", "sha3_512"),
        ("2.16.840.1.101.3.4.3.13", "sha3_224"),  # RSA with SHA3-224
        ("2.16.840.1.101.3.4.3.14", "sha3_256"),
        ("2.16.840.1.101.3.4.3.16", "sha3_512"),
    ],
)
def test_end_point_hash_is_the_hash_of_the_signature(signature: str, name: str) -> None:
    """SHA-256 replaces MD5 and SHA-1 (RFC 5929 §4.1)."""
    data = certificate(signature)
    assert end_point_hash_name(data) == name
    assert tls_server_end_point(data) == hashlib.new(name, data).digest()


@pytest.mark.parametrize(
    ("signature", "named"),
    [
        ("1.2.840.113549.1.1.15", "RSA and SHA-512/224"),
        ("1.2.840.113549.1.1.16", "RSA and SHA-512/256"),
        ("2.16.840.1.101.3.4.3.3", "DSA and SHA-384"),
        ("2.16.840.1.101.3.4.3.4", "DSA and SHA-512"),
        ("2.16.840.1.101.3.4.3.5", "DSA and SHA-3"),
        ("2.16.840.1.101.3.4.3.8", "DSA and SHA-3"),
    ],
)
def test_hash_that_postgresql_cannot_determine_is_not_used(signature: str, named: str) -> None:
    """RFC 5929 defines a hash for these. PostgreSQL does not get it from OpenSSL and would refuse the client."""
    data = certificate(signature)
    assert tls_server_end_point(data)
    with pytest.raises(ChannelBindingUnsupported, match=named) as caught:
        channel_binding_data("tls-server-end-point", Facts(peer_certificate=data).to_facts())
    assert caught.value.remedy


@pytest.mark.parametrize("signature", ["1.2.840.113549.1.1.13", "1.2.840.10045.4.3.3", "2.16.840.1.101.3.4.3.10"])
def test_hash_that_openssl_determines_is_used(signature: str) -> None:
    data = certificate(signature)
    assert channel_binding_data(
        "tls-server-end-point", Facts(peer_certificate=data).to_facts()
    ).data == tls_server_end_point(data)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (pss(), "sha256"),  # all defaults: SHA-1
        (pss(pss_hash("1.3.14.3.2.26")), "sha256"),
        (pss(pss_hash("1.2.840.113549.2.5")), "sha256"),
        (pss(pss_hash("2.16.840.1.101.3.4.2.1")), "sha256"),
        (pss(pss_hash("2.16.840.1.101.3.4.2.2", b"\x05\x00")), "sha384"),
        (pss(pss_hash(SHA512), der(0xA1, b"\x30\x00"), der(0xA2, der(0x02, b"\x40"))), "sha512"),
        (pss(pss_hash("2.16.840.1.101.3.4.2.6")), "sha512_256"),
        (pss(pss_hash("2.16.840.1.101.3.4.2.8")), "sha3_256"),
        (pss(der(0xA1, der(0x30, oid(PSS), der(0x30, oid(SHA512))))), "sha256"),  # the hash of MGF1 is not used
        (pss(der(0xA2, der(0x02, b"\x20"))), "sha256"),
    ],
)
def test_rsassa_pss_hash_is_in_the_parameters(data: bytes, name: str) -> None:
    """Without a name it is SHA-1 (RFC 4055 §3.1)."""
    assert end_point_hash_name(data) == name


@pytest.mark.parametrize(
    ("signature", "named"),
    [
        ("1.3.101.112", "Ed25519"),
        ("1.3.101.113", "Ed448"),
        ("2.16.840.1.101.3.4.3.17", "ML-DSA-44"),
        ("2.16.840.1.101.3.4.3.18", "ML-DSA-65"),
        ("2.16.840.1.101.3.4.3.19", "ML-DSA-87"),
        ("1.2.3.4", "1.2.3.4"),
        ("1.2.840.113549.1.1.1", "1.2.840.113549.1.1.1"),
    ],
)
def test_signature_without_a_hash_function_is_named(signature: str, named: str) -> None:
    with pytest.raises(ChannelBindingUnsupported, match=f"signed with {named}, which has no hash function"):
        tls_server_end_point(certificate(signature))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no certificate",
        ECDSA_SHA384[:-1],
        certificate(PSS),
        certificate(PSS, b"\x05\x00"),
        pss(der(0xA0)),
        pss(der(0xA0, b"\x30\x00")),
        pss(der(0xA0, der(0x30, oid(SHA512)), der(0x30, oid(SHA512)))),
        pss(pss_hash("1.2.3.4")),
        pss(pss_hash(SHA512, b"\x05\x00", b"\x05\x00")),
        pss(der(0x30, oid(SHA512))),
    ],
)
def test_malformed_certificate_has_no_end_point_hash(data: bytes) -> None:
    """RSASSA-PSS parameters may be malformed too."""
    with pytest.raises(ChannelBindingUnsupported):
        tls_server_end_point(data)


@pytest.mark.parametrize("around", [lambda data: data, lambda data: certificate(PSS, der(0x30, data)), pss])
@given(data=st.binary(max_size=100))
def test_arbitrary_bytes_have_a_hash_name_or_the_expected_error(around: Callable[[bytes], bytes], data: bytes) -> None:
    try:
        assert end_point_hash_name(around(data)) in hashlib.algorithms_available
    except ChannelBindingUnsupported:
        pass


@given(st.data())
def test_mutated_certificate_has_a_hash_name_or_the_expected_error(data: st.DataObject) -> None:
    whole = pss(pss_hash(SHA512), der(0xA1, der(0x30, oid("1.2.840.113549.1.1.8"), der(0x30, oid(SHA512)))))
    position = data.draw(st.integers(0, len(whole)))
    removed = data.draw(st.integers(0, 3))
    try:
        end_point_hash_name(whole[:position] + data.draw(st.binary(max_size=3)) + whole[position + removed :])
    except ChannelBindingUnsupported:
        pass


def test_hash_covers_the_whole_certificate() -> None:
    """The signature is included."""
    other = bytearray(ECDSA_SHA384)
    other[-1] ^= 1
    assert tls_server_end_point(bytes(other)) != tls_server_end_point(ECDSA_SHA384)


# The three types ---------------------------------------------------------------------------------------------------


def test_each_type_has_its_binding_data() -> None:
    assert channel_binding_data("tls-server-end-point", Facts().to_facts()) == (
        hashlib.sha384(ECDSA_SHA384).digest(),
        "sha384",
    )
    assert channel_binding_data("tls-exporter", Facts().to_facts("tls-exporter")) == (b"E" * 32, None)
    assert channel_binding_data("tls-unique", Facts(version="TLSv1.2").to_facts("tls-unique")) == (b"F" * 12, None)


@pytest.mark.parametrize(
    ("binding_type", "facts", "reason"),
    [
        ("tls-unique", Facts(), "tls-unique is not defined for TLSv1.3"),
        ("tls-unique", Facts(version="TLSv1.2", finished=None), "no Finished"),
        ("tls-exporter", Facts(version="TLSv1.2"), "tls-exporter requires TLS 1.3"),
        ("tls-exporter", Facts(exported=None), "no exporter"),
        ("tls-server-end-point", Facts(peer_certificate=ED25519), "Ed25519"),
        ("tls-server-end-point", Facts(peer_certificate=b""), "cannot be read"),
        ("tls-unknown", Facts(), "unknown channel binding type"),
    ],
)
def test_unavailable_binding_type_is_an_error_with_the_reason(binding_type: str, facts: Facts, reason: str) -> None:
    with pytest.raises(ChannelBindingUnsupported, match=reason):
        channel_binding_data(binding_type, facts.to_facts(binding_type))
