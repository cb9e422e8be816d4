"""Names are compared by the rules of libpq or of RFC 9525. No name of another host matches."""

from __future__ import annotations

import dataclasses
import ipaddress
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID
from hypothesis import example, given
from hypothesis import strategies as st

from babar_tls import ConfigError
from babar_tls.x509.hostname import ascii_name, name_fault

from .pairs import Pair

if TYPE_CHECKING:
    from babar_tls.backends import TlsParameters
    from babar_tls.testing import CertificateAuthority, ServerCertificate

DB = "db.example.com"


def dns(*names: str) -> list[x509.GeneralName]:
    return [x509.DNSName(name) for name in names]


def ip(*addresses: str) -> list[x509.GeneralName]:
    return [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]


def cn(*names: str, kind: _ASN1Type | None = None) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name, kind) for name in names])


NOBODY = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "somebody")])
OTHERS = [x509.RFC822Name("dba@example.com"), x509.UniformResourceIdentifier(f"https://{DB}/")]
NULL = "SSL certificate's name contains embedded null"

#: The subject, the alternative names (`False`: no extension), the host, and libpq's error, empty for a match.
LIKE_LIBPQ: dict[str, tuple[x509.Name, Any, str, str]] = {
    "common name": (cn(DB), False, DB, ""),
    "common name, in capitals": (cn(DB.upper()), False, DB, ""),
    "the first of two common names": (cn(DB, "other"), False, DB, ""),
    "the second of two common names": (cn("other", DB), False, DB, '"other" does not match host name'),
    "common name and a dNSName": (cn(DB), dns("other"), DB, '"other" does not match'),
    "common name and an address": (cn(DB), ip("127.0.0.1"), DB, ""),
    "common name with mail and URI": (cn(DB), OTHERS, DB, ""),
    "common name only": (cn(DB), [], DB, ""),
    "a URI with the host": (cn("x"), OTHERS, DB, '"x" does not match'),
    "wildcard in the common name": (cn("*.example.com"), False, DB, ""),
    "wildcard": (NOBODY, dns("*.example.com"), DB, ""),
    "wildcard in capitals": (NOBODY, dns("*.EXAMPLE.com"), DB, ""),
    "wildcard for an A-label": (NOBODY, dns("*.example.com"), "xn--bcher-kva.example.com", ""),
    "wildcard for two labels": (NOBODY, dns("*.example.com"), "a.b.example.com", "does not match"),
    "wildcard for no label": (NOBODY, dns("*.example.com"), "example.com", "does not match"),
    "wildcard for an empty label": (NOBODY, dns("*.example.com"), ".example.com", "does not match"),
    "half a wildcard": (NOBODY, dns("d*.example.com"), DB, "does not match"),
    "wildcard within": (NOBODY, dns("db.*.com"), DB, "does not match"),
    "wildcard for a label with an underscore": (NOBODY, dns("*.example.com"), "my_db.example.com", ""),
    "wildcard for an underscore": (NOBODY, dns("*.example.com"), "_.example.com", ""),
    "wildcard for a hyphen": (NOBODY, dns("*.example.com"), "-.example.com", ""),
    "wildcard above a label with an underscore": (NOBODY, dns("*.my_zone.example"), "db.my_zone.example", ""),
    "wildcard above a hyphen": (NOBODY, dns("*.-.example"), "db.-.example", ""),
    "wildcard with a dot at the end, and the host": (NOBODY, dns("*.example.com."), DB + ".", ""),
    "wildcard with a dot at the end": (NOBODY, dns("*.example.com."), DB, "does not match"),
    "wildcard, the host with a dot at the end": (NOBODY, dns("*.example.com"), DB + ".", "does not match"),
    "wildcard with a dot at the end in the common name": (cn("*.example.com."), False, DB + ".", ""),
    "underscore": (NOBODY, dns("my_db.example.com"), "my_db.example.com", ""),
    "two wildcards": (NOBODY, dns("*.*.example.com"), "a.b.example.com", "does not match"),
    "only a wildcard": (NOBODY, dns("*"), "localhost", "does not match"),
    "wildcard and a dot": (NOBODY, dns("*."), "localhost.", "does not match"),
    "dot after the host": (NOBODY, dns(DB), DB + ".", "does not match"),
    "dot after the name": (NOBODY, dns(DB + "."), DB, "does not match"),
    "dots after both": (NOBODY, dns(DB + "."), DB + ".", ""),
    "A-label": (NOBODY, dns("xn--bcher-kva.example"), "xn--bcher-kva.example", ""),
    "UTF-8 in the common name": (cn("bücher.example"), False, "bücher.example", ""),
    "UTF-8 in another case": (cn("bÜcher.example"), False, "bücher.example", "does not match"),
    "address": (NOBODY, ip("127.0.0.1"), "127.0.0.1", ""),
    "address, spelled otherwise": (NOBODY, ip("::1"), "0:0::0:1", ""),
    "address, mapped": (NOBODY, ip("127.0.0.1"), "::ffff:127.0.0.1", "does not match"),
    "address of a link": (NOBODY, ip("fe80::1"), "fe80::1%lo", "does not match"),
    "address in the common name": (cn("127.0.0.1"), False, "127.0.0.1", ""),
    "address in the common name and a dNSName": (cn("127.0.0.1"), dns("other"), "127.0.0.1", ""),
    "address in the common name and an address": (cn("127.0.0.1"), ip("::1"), "127.0.0.1", '"::1" does not match'),
    "address in the common name, spelled otherwise": (cn("::1"), False, "0:0::0:1", "does not match"),
    "address in a dNSName": (NOBODY, dns("127.0.0.1"), "127.0.0.1", ""),
    "address in a dNSName and an address": (NOBODY, [*dns("127.0.0.1"), *ip("::1")], "127.0.0.1", ""),
    "null in a dNSName": (NOBODY, dns(f"{DB}\0.evil.example"), DB, NULL),
    "null in a dNSName after ours": (NOBODY, dns(DB, "a\0b"), DB, ""),
    "null in a dNSName before ours": (NOBODY, dns("a\0b", DB), DB, NULL),
    "null in a dNSName before our address": (NOBODY, [*dns("a\0b"), *ip("127.0.0.1")], "127.0.0.1", NULL),
    "null in the common name": (cn(f"{DB}\0.evil.example"), False, DB, NULL),
    "BMPString": (cn(DB, kind=_ASN1Type.BMPString), False, DB, NULL),
    "UniversalString": (cn(DB, kind=_ASN1Type.UniversalString), False, DB, NULL),
    "T61String": (cn(DB, kind=_ASN1Type.T61String), False, DB, ""),
    "PrintableString": (cn(DB, kind=_ASN1Type.PrintableString), False, DB, ""),
    "IA5String": (cn(DB, kind=_ASN1Type.IA5String), False, DB, ""),
    "no names at all": (NOBODY, False, DB, "could not get server's host name from server certificate"),
    "three names": (cn("x"), dns("a", "b", "c"), DB, 'for "a" (and 2 other names) does not match'),
    "names and an address": (cn("x"), [*dns("a"), *ip("::1")], DB, 'for "a" (and 1 other name) does not match'),
    "an address and the common name": (cn("x"), ip("::1"), DB, 'for "::1" (and 1 other name) does not match'),
}

#: The same for hosts that libpq accepts.
STRICTER: dict[str, tuple[x509.Name, Any, str]] = {
    "wildcard of a top-level domain": (NOBODY, dns("*.com"), "example.com"),
    "the same in the common name": (cn("*.com"), False, "example.com"),
    "wildcard of a top-level domain with a dot at the end": (NOBODY, dns("*.com."), "example.com."),
    "wildcard over an address": (NOBODY, dns("*.0.0.1"), "127.0.0.1"),
    "the same in the common name, over an address": (cn("*.0.0.1"), False, "127.0.0.1"),
    "an address of another age": (NOBODY, ip("127.0.0.1"), "127.1"),
}


def issue(authority: CertificateAuthority, subject: x509.Name, san: Any) -> ServerCertificate:
    return authority.issue(subject=subject, san=san)


@pytest.mark.parametrize("case", LIKE_LIBPQ)
def test_result_and_text_are_those_of_libpq(case: str, authority: CertificateAuthority) -> None:
    subject, san, host, text = LIKE_LIBPQ[case]
    fault = name_fault(issue(authority, subject, san).der, host)
    assert (fault is None) is (not text)
    assert fault is None or text in fault.message


@pytest.mark.parametrize(
    "host", ["0177.0.0.1", "127.0.1", "0x7f.0.0.1", "\uff11\uff12\uff17.0.0.1", "127.0.0.0x1", "127.0.0.1."]
)
@pytest.mark.parametrize("common_name", [True, False])
def test_no_pattern_matches_an_address_in_an_unusual_form(
    host: str, common_name: bool, authority: CertificateAuthority
) -> None:
    pattern = f"*.{host.partition('.')[2]}"
    for subject, san in ((cn(pattern), False), (NOBODY, dns(pattern))):
        assert name_fault(issue(authority, subject, san).der, host, common_name=common_name) is not None


@pytest.mark.parametrize("case", STRICTER)
def test_wildcards_that_only_libpq_accepts_are_refused(case: str, authority: CertificateAuthority) -> None:
    """Such as ``*.com``, and a wildcard for a part of an address."""
    subject, san, host = STRICTER[case]
    fault = name_fault(issue(authority, subject, san).der, host)
    assert fault is not None
    assert fault.reason == "hostname-mismatch"


@pytest.mark.parametrize("case", LIKE_LIBPQ)
def test_rfc_9525_accepts_no_more_than_libpq(case: str, authority: CertificateAuthority) -> None:
    """Common names do not match, nor addresses in dNSNames."""
    subject, san, host, text = LIKE_LIBPQ[case]
    fault = name_fault(issue(authority, subject, san).der, host, common_name=False)
    if text or not san or "common name" in case or "in a dNSName" in case or san is OTHERS:
        # An address does not depend on the names after one with a NUL.
        assert fault is not None or case in ("null in a dNSName before our address", "null in a dNSName after ours")
    else:
        assert fault is None


def test_host_in_another_script_is_compared_as_a_label(authority: CertificateAuthority) -> None:
    """Unlike libpq, which does not find the A-label."""
    der_ = issue(authority, NOBODY, dns("xn--bcher-kva.example")).der
    assert name_fault(der_, "bücher.example") is None
    assert name_fault(der_, "bücher.example", common_name=False) is None
    assert ascii_name("bücher.example") == "xn--bcher-kva.example"
    with pytest.raises(ConfigError, match="is not a host name"):
        ascii_name("bü..cher")


def test_name_in_a_message_is_escaped(authority: CertificateAuthority) -> None:
    fault = name_fault(issue(authority, cn("a\nFATAL: \x1b[2J"), False).der, DB)
    assert fault is not None
    assert r'for "a\nFATAL: \x1b[2J" does' in fault.message
    fault = name_fault(issue(authority, cn("a\nb"), False).der, DB, common_name=False)
    assert fault is not None
    assert "\n" not in fault.message


@pytest.mark.parametrize("data", [b"", b"\x30\x00", b"garbage"])
def test_malformed_certificate_matches_no_host(data: bytes) -> None:
    fault = name_fault(data, DB)
    assert fault is not None
    assert fault.reason == "invalid"


def der(tag: int, *contents: bytes) -> bytes:
    """Return one DER element of less than 64 kB."""
    content = b"".join(contents)
    size = len(content)
    return bytes([tag, size] if size < 0x80 else [tag, 0x82, size >> 8, size & 0xFF]) + content


COMMON_NAME = der(0x06, b"\x55\x04\x03")
ALTERNATIVE_NAME = der(0x06, b"\x55\x1d\x11")
ECDSA_SHA256 = der(0x30, der(0x06, b"\x2a\x86\x48\xce\x3d\x04\x03\x02"))


def made(common_names: list[bytes], alternative: list[tuple[int, bytes]]) -> bytes:
    """Return a certificate with these names, byte for byte."""
    subject = der(0x30, *(der(0x31, der(0x30, COMMON_NAME, der(0x0C, name))) for name in common_names))
    san = der(0x30, ALTERNATIVE_NAME, der(0x04, der(0x30, *(der(tag, name) for tag, name in alternative))))
    key = der(0x30, ECDSA_SHA256, der(0x03, b"\0"))
    tbs = der(0x30, der(0x02, b"\1"), ECDSA_SHA256, subject, der(0x30), subject, key, der(0xA3, der(0x30, san)))
    return der(0x30, tbs, ECDSA_SHA256, der(0x03, b"\0signature"))


LABELS = st.sampled_from(["a", "b", "*", "x*", "", "com", "\0", "127", "0", "1", "A"])
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(".".join)
OCTETS = NAMES.map(str.encode) | st.binary(max_size=6)


@given(
    st.lists(OCTETS, max_size=2),
    st.lists(st.tuples(st.sampled_from([0x82, 0x87, 0x86, 0x81]), OCTETS), max_size=3),
    st.lists(st.sampled_from(["a", "b", "com", "127", "0", "1"]), min_size=1, max_size=4).map(".".join),
)
@example([b"*.com"], [], "a.com")
@example([], [(0x87, b"\x7f\0\0\1")], "127.0.0.1")
def test_matching_name_is_the_host_or_a_wildcard_for_it(
    common_names: list[bytes], alternative: list[tuple[int, bytes]], host: str
) -> None:
    """Every match by RFC 9525 is also a match by the rules of libpq."""
    data = made(common_names, alternative)
    lenient, strict = name_fault(data, host), name_fault(data, host, common_name=False)
    wanted = host.encode()
    try:
        address = ipaddress.ip_address(host).packed
    except ValueError:
        address = None
    label, _, parent = wanted.partition(b".")
    good = {wanted} | ({b"*." + parent} if address is None and parent.count(b".") >= 1 and label else set())
    texts = {name.lower() for tag, name in alternative if tag == 0x82}
    octets = {name for tag, name in alternative if tag == 0x87}
    by_alternative = bool(octets & {address}) if address is not None else bool(texts & good)
    if strict is None:
        assert by_alternative
    if lenient is None:
        first = {name.lower() for name in common_names[:1]}
        assert by_alternative or texts & good or first & good
    if strict is None and not any(b"\0" in name for name in texts):
        assert lenient is None


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("*.example.com", "xn--bcher-kva.example.com"),
        ("*.example.com", "b\u00fccher.example.com"),
        ("*.example.com", "my_db.example.com"),
        ("*.my_zone.example", "db.my_zone.example"),
        ("*.-.example", "db.-.example"),
        ("*.example.com.", "db.example.com."),
        ("my_db.example.com.", "my_db.example.com."),
    ],
)
def test_every_backend_accepts_a_wildcard_for_any_label(
    backend: str, name: str, host: str, parameters: TlsParameters, authority: CertificateAuthority
) -> None:
    for common_name in (False, True):
        chosen = dataclasses.replace(parameters, common_name=common_name)
        Pair(backend, chosen, host, issue(authority, NOBODY, dns(name))).handshake()
