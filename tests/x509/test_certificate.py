"""Certificates are parsed correctly. Malformed certificates raise only `DerError`."""

from __future__ import annotations

import ipaddress
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from protocol.script import certificate, der, oid

from babar_tls.x509.certificate import parse_certificate, public_key_info
from babar_tls.x509.der import DerError, elements, only_element
from babar_tls.x509.names import SubjectNames, subject_names
from babar_tls.x509.signature_algorithm import SignatureAlgorithm, signature_algorithm

if TYPE_CHECKING:
    from collections.abc import Callable

ECDSA = "1.2.840.10045.4.3.2"
ALGORITHM = der(0x30, oid(ECDSA))
VALIDITY = der(0x30, der(0x17, b"250101000000Z"), der(0x17, b"350101000000Z"))


def name(*common_names: str) -> bytes:
    return der(0x30, *(der(0x31, der(0x30, oid("2.5.4.3"), der(0x0C, cn.encode()))) for cn in common_names))


def named(
    *alternative: bytes, common_names: tuple[str, ...] = ("old.example",), version: bool = True, extensions: bool = True
) -> bytes:
    """Return a certificate with these names (GeneralName elements)."""
    san = der(0x30, oid("2.5.29.17"), der(0x04, der(0x30, *alternative)))
    key_usage = der(0x30, oid("2.5.29.15"), der(0x01, b"\xff"), der(0x04, der(0x03, b"\0")))
    tbs = der(
        0x30,
        der(0xA0, der(0x02, b"\x02")) if version else b"",
        der(0x02, b"\x01"),
        ALGORITHM,
        name("authority"),
        VALIDITY,
        name(*common_names),
        der(0x30, ALGORITHM, der(0x03, b"\0")),
        der(0xA3, der(0x30, key_usage, san)) if extensions else b"",
    )
    return certificate(ECDSA, tbs=tbs)


def test_outer_signature_algorithm_is_returned_with_its_parameters() -> None:
    assert signature_algorithm(certificate(ECDSA)) == SignatureAlgorithm(ECDSA, None)
    assert signature_algorithm(certificate("1.2.840.113549.1.1.11", b"\x05\x00")) == SignatureAlgorithm(
        "1.2.840.113549.1.1.11", b"\x05\x00"
    )


@given(st.integers(0, 2), st.integers(0, 39), st.lists(st.integers(0, 2**60), max_size=5))
def test_object_identifiers_of_any_size_are_parsed(first: int, second: int, rest: list[int]) -> None:
    """X.690 §8.19."""
    dotted = ".".join(map(str, [first, second, *rest]))
    assert signature_algorithm(certificate(dotted)).oid == dotted


def test_dns_names_and_addresses_are_returned_in_order() -> None:
    """Other kinds are ignored."""
    addresses = [ipaddress.ip_address("192.0.2.7"), ipaddress.ip_address("2001:db8::1")]
    entries = [der(0x82, b"*.example.com"), der(0x81, b"mail@example.com")]
    entries += [der(0x87, address.packed) for address in addresses]
    names = subject_names(named(*entries))
    assert names.readable_common_name == "old.example"
    assert names.readable_alternative_names == ["*.example.com", "192.0.2.7", "2001:db8::1"]


def test_first_common_name_is_used_without_alternative_names() -> None:
    """As in libpq."""
    names = subject_names(named(common_names=("first", "last"), extensions=False))
    assert names == SubjectNames((b"first", b"last"), ())
    assert names.readable_common_name == "first"
    assert subject_names(named(common_names=(), extensions=False)).readable_common_name is None
    assert subject_names(named(version=False, extensions=False)).readable_common_name == "old.example"


def test_names_are_returned_in_order_and_not_decoded() -> None:
    found = subject_names(named(der(0x82, b"a\0b"), der(0x87, b"123"), der(0x86, b"u"), common_names=("x", "y")))
    assert found.common_names == (b"x", b"y")
    assert found.alternative_names == ((False, b"a\0b"), (True, b"123"))


def test_public_key_is_returned_completely_or_refused() -> None:
    assert public_key_info(named()) == der(0x30, ALGORITHM, der(0x03, b"\0"))
    for broken in (der(0x31, ALGORITHM, der(0x03, b"\0")), der(0x30, ALGORITHM), der(0x30, der(0x02, b"\1"))):
        with pytest.raises(DerError):
            public_key_info(certificate(ECDSA, tbs=der(0x30, *[der(0x30)] * 5, broken)))
    with pytest.raises(DerError):
        public_key_info(certificate(ECDSA, tbs=der(0x30, *[der(0x30)] * 5)))


def test_addresses_of_invalid_length_are_not_shown() -> None:
    """RFC 5280 §4.2.1.6."""
    assert subject_names(named(der(0x87, b"12345"), der(0x87, b""))).readable_alternative_names == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x30",
        b"\x30\x80\x00\x00",
        b"\x30\x81\x01\x00",
        b"\x30\x82\x00\x80" + bytes(128),
        b"\x30\x85\x00\x00\x00\x00\x01\x00",
        b"\x30\xff" + bytes(127),
        b"\x30\x84\xff\xff\xff\xff",
        b"\x1f\x81\x01\x00",
        b"\x31\x00",
        b"\x30\x00",
        certificate(ECDSA) + b"\0",
        certificate(ECDSA)[:-1],
        der(0x30, b"\x30\x00", ALGORITHM),
        der(0x30, b"\x30\x00", ALGORITHM, b"\x03\x00", b"\x03\x00"),
        der(0x30, b"\x30\x00", b"\x30\x00", b"\x03\x00"),
        der(0x30, b"\x30\x00", der(0x30, b"\x05\x00"), b"\x03\x00"),
        der(0x30, b"\x30\x00", der(0x30, b"\x06\x00"), b"\x03\x00"),
        der(0x30, b"\x30\x00", der(0x30, b"\x06\x01\x80"), b"\x03\x00"),
        der(0x30, b"\x30\x00", der(0x30, b"\x06\x41" + b"\x80" * 64 + b"\x01"), b"\x03\x00"),
        certificate(ECDSA, b"\x05\x00\x05\x00"),
        der(0x30, b"\x31\x00", ALGORITHM, b"\x03\x00"),
    ],
)
def test_malformed_elements_are_refused(data: bytes) -> None:
    with pytest.raises(DerError):
        signature_algorithm(data)


@pytest.mark.parametrize(
    "data",
    [
        certificate(ECDSA),
        certificate(ECDSA, tbs=der(0x30, *[b"\x02\x00"] * 5)),
        named(b"\x82\x7f"),
        named().replace(der(0x04, der(0x30)), der(0x04, b"\x05\x00" * 1)[:2] + b"\x30\x01"),
        certificate(ECDSA, tbs=named()[4:]),
    ],
)
def test_malformed_names_are_refused(data: bytes) -> None:
    with pytest.raises(DerError):
        subject_names(data)


def test_bytes_after_the_value_of_an_extension_are_ignored() -> None:
    """As in OpenSSL, which has accepted the certificate."""
    twice = der(0x30, oid("2.5.29.17"), der(0x04, der(0x30), der(0x30)))
    tbs = der(0x30, *[der(0x30)] * 6, der(0xA3, der(0x30, twice)))
    assert subject_names(certificate(ECDSA, tbs=tbs)).alternative_names == ()


def in_ber(data: bytes) -> bytes:
    """Return a constructed element of indefinite length (X.690 §8.1.3.6)."""
    return b"\x30\x80" + only_element(data).content + b"\0\0"


def test_outline_in_ber_is_read_except_for_the_channel_binding() -> None:
    plain = named(der(0x82, b"db.example.com"))
    tbs, algorithm, signature = (each.encoded for each in elements(only_element(plain).content))
    for outline in (in_ber(plain), der(0x30, in_ber(tbs), algorithm, signature), b"\x30\x82\0" + plain[2:]):
        assert subject_names(outline) == subject_names(plain)
        assert public_key_info(outline) == public_key_info(plain)
        assert parse_certificate(outline).subject == parse_certificate(plain).subject
        with pytest.raises(DerError):
            signature_algorithm(outline)


def with_extensions(*extensions: tuple[str, bytes]) -> bytes:
    """Return a certificate with these extensions, by identifier and value."""
    listed = (der(0x30, oid(identifier), der(0x04, value)) for identifier, value in extensions)
    version, key = der(0xA0, der(0x02, b"\x02")), der(0x30, ALGORITHM, der(0x03, b"\0"))
    fields = (version, der(0x02, b"\x01"), ALGORITHM, name("ca"), VALIDITY, name("ca"), key)
    return certificate(ECDSA, tbs=der(0x30, *fields, der(0xA3, der(0x30, *listed))))


BASIC_CONSTRAINTS, KEY_USAGE, NAME_CONSTRAINTS, EXTENDED_KEY_USAGE = "2.5.29.19", "2.5.29.15", "2.5.29.30", "2.5.29.37"
CA_TRUE = (BASIC_CONSTRAINTS, der(0x30, der(0x01, b"\xff"), der(0x02, b"\x01")))


def test_ca_certificate() -> None:
    found = parse_certificate(with_extensions(CA_TRUE))
    assert (found.is_authority, found.key_usage, found.serves) == (True, None, True)
    assert found.may_sign
    assert found.is_self_signed
    assert not found.is_first_version
    assert not found.has_name_constraints
    assert not parse_certificate(with_extensions((BASIC_CONSTRAINTS, der(0x30)))).may_sign


def test_key_usage_without_certificate_signing_forbids_signing() -> None:
    for bits, may_sign in ((b"\2\4", True), (b"\7\x80", False), (b"\0", False)):
        assert parse_certificate(with_extensions(CA_TRUE, (KEY_USAGE, der(0x03, bits)))).may_sign is may_sign


@pytest.mark.parametrize("bits", [b"\7\x84", b"\3\x06", b"\6\x0c"])
def test_unused_bits_of_the_key_usage_are_ignored(bits: bytes) -> None:
    """OpenSSL clears them. Otherwise a trusted server certificate with an unused keyCertSign bit could issue others."""
    assert not parse_certificate(with_extensions((KEY_USAGE, der(0x03, bits)))).may_sign
    assert not parse_certificate(with_extensions(CA_TRUE, (KEY_USAGE, der(0x03, bits)))).may_sign
    assert parse_certificate(with_extensions((KEY_USAGE, der(0x03, b"\7\x06\x80")))).may_sign


def test_more_unused_bits_than_an_octet_has_are_refused() -> None:
    with pytest.raises(DerError):
        parse_certificate(with_extensions((KEY_USAGE, der(0x03, b"\x09\4"))))


@pytest.mark.parametrize(
    "value",
    [
        der(0x30, der(0x01, b"\0"), der(0x01, b"\xff")),
        der(0x30, der(0x01, b"\xff"), der(0x02, b"\xff")),
        der(0x30, der(0x01, b"\xff"), der(0x02)),
        der(0x30, der(0x01, b"\xff"), der(0x04, b"\0")),
        der(0x30, der(0x02, b"\1"), der(0x01, b"\xff")),
        der(0x31, der(0x01, b"\xff")),
    ],
)
def test_basic_constraints_that_openssl_considers_invalid_are_refused(value: bytes) -> None:
    with pytest.raises(DerError):
        parse_certificate(with_extensions((BASIC_CONSTRAINTS, value)))


def test_extended_key_usage_without_server_auth_is_found() -> None:
    for purpose, serves in (("1.3.6.1.5.5.7.3.1", True), ("1.3.6.1.5.5.7.3.2", False)):
        assert parse_certificate(with_extensions((EXTENDED_KEY_USAGE, der(0x30, oid(purpose))))).serves is serves


@pytest.mark.parametrize(
    "base", [der(0x82, b"example.com"), der(0x87, bytes(8)), der(0xA4, name("x")), der(0x81, b"x")]
)
@pytest.mark.parametrize("side", [0xA0, 0xA1])
def test_name_constraints_of_every_kind_are_found(base: bytes, side: int) -> None:
    """A CA certificate that is limited to some addresses must not be used as one without limits."""
    value = der(0x30, der(side, der(0x30, base)))
    assert parse_certificate(with_extensions(CA_TRUE, (NAME_CONSTRAINTS, value))).has_name_constraints


@pytest.mark.parametrize("extension", [CA_TRUE, (KEY_USAGE, der(0x03, b"\2\4")), (NAME_CONSTRAINTS, der(0x30))])
def test_extension_that_occurs_twice_is_refused(extension: tuple[str, bytes]) -> None:
    """OpenSSL rejects such a certificate (RFC 5280 §4.2)."""
    with pytest.raises(DerError):
        parse_certificate(with_extensions(extension, extension))
    unknown = ("1.3.6.1.4.1.1", b"")
    assert not parse_certificate(with_extensions(unknown, unknown)).has_name_constraints


@pytest.mark.parametrize("boolean", [b"", b"\xff\0", b"\0\xff"])
def test_boolean_of_another_length_is_refused(boolean: bytes) -> None:
    with pytest.raises(DerError):
        parse_certificate(with_extensions((BASIC_CONSTRAINTS, der(0x30, der(0x01, boolean)))))


READERS: list[Callable[[bytes], object]] = [signature_algorithm, subject_names, public_key_info, parse_certificate]


@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
@given(data=st.binary(max_size=200))
def test_arbitrary_bytes_raise_only_der_error(read: Callable[[bytes], object], data: bytes) -> None:
    for candidate in (data, certificate(ECDSA, tbs=der(0x30, *[der(0x30, data)] * 6, der(0xA3, der(0x30, data))))):
        try:
            read(candidate)
        except DerError:
            pass


@given(st.integers(0, 400), st.binary(max_size=4), st.integers(0, 4))
def test_mutated_certificate_is_parsed_or_raises_der_error(position: int, inserted: bytes, removed: int) -> None:
    data = named(der(0x82, b"db.example.com"), der(0x87, b"\x7f\0\0\x01"))
    mutated = data[:position] + inserted + data[position + removed :]
    for read in READERS:
        try:
            read(mutated)
        except DerError:
            pass


def test_deep_nesting_is_not_followed() -> None:
    nested = b""
    for _ in range(10_000):
        nested = der(0x30, nested)
    assert sys.getrecursionlimit() < 10_000
    assert signature_algorithm(certificate(ECDSA, tbs=nested)).oid == ECDSA


class CountedBytes(bytes):
    """Bytes that count the bytes copied by slicing."""

    copied = 0

    def __getitem__(self, key):  # type: ignore[no-untyped-def]  # bytes' own overloads
        part = super().__getitem__(key)
        if isinstance(key, slice):
            CountedBytes.copied += len(part)
            return CountedBytes(part)
        return part


def test_parsing_many_elements_takes_linear_time() -> None:
    count = 20_000
    CountedBytes.copied = 0
    assert sum(1 for _ in elements(CountedBytes(b"\x05\x00" * count))) == count
    assert CountedBytes.copied < 10 * count
