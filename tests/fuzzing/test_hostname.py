"""Hostnames: a certificate is accepted only if OpenSSL accepts it too, with listed exceptions."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import strategies as st

from babar_tls.x509 import hostname as names
from babar_tls.x509.hostname import name_fault
from babar_tls.x509.names import subject_names

from . import openssl
from .profile import corpus_objects, failure, fuzz

if TYPE_CHECKING:
    from collections.abc import Callable

CORPUS = corpus_objects("names")

DNS, IP, URI, MAIL = 0x82, 0x87, 0x86, 0x81
UTF8, PRINTABLE = 0x0C, 0x13


# Certificates ------------------------------------------------------------------------------------------------------


def element(tag: int, *contents: bytes) -> bytes:
    """Return one DER element of less than 64 kB."""
    content = b"".join(contents)
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes(1 if size < 0x100 else 2, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


ECDSA_SHA256 = element(0x30, element(0x06, bytes.fromhex("2a8648ce3d040302")))
VALIDITY = element(0x30, element(0x17, b"250101000000Z"), element(0x17, b"450101000000Z"))
KEY = element(0x30, element(0x30, element(0x06, bytes.fromhex("2b6570"))), element(0x03, bytes(33)))  # Ed25519


def certificate(common_names: list[bytes], alternative: list[tuple[int, bytes]] | None) -> bytes:
    """Return a certificate with exactly these names; `None` omits the extension for alternative names."""
    oid = element(0x06, b"\x55\x04\x03")
    subject = (element(0x31, element(0x30, oid, element(UTF8, name))) for name in common_names)
    extensions = b""
    if alternative is not None:
        value = element(0x30, *(element(tag, name) for tag, name in alternative))
        extension = element(0x30, element(0x06, b"\x55\x1d\x11"), element(0x04, value))
        extensions = element(0xA3, element(0x30, extension))
    version = element(0xA0, element(0x02, b"\2"))
    issuer, serial = element(0x30), element(0x02, b"\1")
    tbs = element(0x30, version, serial, ECDSA_SHA256, issuer, VALIDITY, element(0x30, *subject), KEY, extensions)
    return element(0x30, tbs, ECDSA_SHA256, element(0x03, b"\0signature"))


# The exceptions ----------------------------------------------------------------------------------------------------


def is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def exception_for(
    common_names: list[bytes], alternative: list[tuple[int, bytes]], host: str, *, common_name: bool
) -> str | None:
    """Return the reason why this library may accept a host that OpenSSL refuses, `None` if it must not."""
    known = {name.lower() for tag, name in alternative if tag == DNS}
    if common_name:
        known |= {name.lower() for name in common_names}
    # 1. In OpenSSL "*." begins a pattern only before labels of letters, digits and inner hyphens, and the asterisk
    #    matches letters, digits and hyphens. In libpq and in this library it is a pattern for other labels too.
    for wanted in (host.encode().lower(), spelled(host).lower()):
        _, _, parent = wanted.partition(b".")
        if b"*." + parent in known:
            if b"_" in wanted:
                return "underscore under a wildcard"
            if not wanted.isascii():
                return "UTF-8 under a wildcard"
            if any(each.startswith(b"-") or each.endswith(b"-") for each in parent.split(b".")):
                return "hyphen at the end of a label under a wildcard"
            if parent.endswith(b"."):
                return "dot at the end under a wildcard"
    # 2. libpq also compares an address with names, as text; OpenSSL only with the octets of an iPAddress.
    if common_name and is_address(host) and host.encode().lower() in known:
        return "address among the names"
    return None


def spelled(host: str) -> bytes:
    """Return the host as in DNS, or in UTF-8 if DNS cannot represent it."""
    try:
        return host.encode("idna")
    except UnicodeError:
        return host.encode()


def check(common_names: list[bytes], alternative: list[tuple[int, bytes]] | None, host: str) -> None:
    der = certificate(common_names, alternative)
    assert openssl.parses(der)
    assert subject_names(der).common_names == tuple(common_names)
    for common_name in (False, True):
        if name_fault(der, host, common_name=common_name) is not None:
            continue
        accepted = any(
            openssl.is_for(der, spelling, common_name=common_name) for spelling in (spelled(host), host.encode())
        )
        assert accepted or exception_for(common_names, alternative or [], host, common_name=common_name)


# Strategies --------------------------------------------------------------------------------------------------------

HOSTS = st.one_of(
    st.sampled_from(
        [
            "a.example.com",
            "a.b.example.com",
            "A.Example.com",
            "a.example.com.",
            "a_b.example.com",
            "_x.example.com",
            "example.com",
            "com",
            ".example.com",
            "*.example.com",
            "xn--bcher-kva.example.com",
            "b\u00fccher.example.com",
            "a.b\u00fccher.example",
            "127.0.0.1",
            "127.1",
            "::1",
            "0:0::1",
            "fe80::1%lo",
            "::ffff:127.0.0.1",
            "localhost",
        ]
    ),
    st.lists(st.sampled_from(["a", "b", "com", "-", "_", "*", "", "1"]), min_size=2, max_size=4).map(".".join),
)

#: Names related to a host: functions of the host, and of the parts after its first and its second dot.
RELATIONS: list[Callable[[str, str, str], str]] = [
    lambda host, _parent, _grandparent: host,
    lambda host, _parent, _grandparent: host.upper(),
    lambda _host, parent, _grandparent: "*." + parent,
    lambda _host, parent, _grandparent: "*." + parent,
    lambda _host, _parent, grandparent: "*." + grandparent,
    lambda _host, _parent, grandparent: "*.*." + grandparent,
    lambda _host, parent, _grandparent: "*" + parent,
    lambda _host, parent, _grandparent: "a*." + parent,
    lambda _host, parent, _grandparent: parent,
    lambda _host, parent, _grandparent: "." + parent,
    lambda host, _parent, _grandparent: "*." + host,
    lambda host, _parent, _grandparent: host + ".",
    lambda host, _parent, _grandparent: host.rstrip("."),
    lambda host, _parent, _grandparent: host + "\0",
    lambda host, _parent, _grandparent: host + "\0.evil.example",
    lambda host, _parent, _grandparent: " " + host,
    lambda _host, parent, _grandparent: "*." + parent + "\0",
    lambda _host, _parent, _grandparent: "other.example",
    lambda _host, _parent, _grandparent: "*",
]
OCTETS = [b"\x7f\0\0\1", bytes(15) + b"\1", bytes(10) + b"\xff\xff\x7f\0\0\1", b"127.0.0.1", b"", bytes(5)]


@st.composite
def cases(draw: st.DrawFn) -> tuple[str, list[bytes], list[tuple[int, bytes]] | None]:
    """Return a host, and common names and alternative names that are related to it."""
    host = draw(HOSTS)
    parent = host.partition(".")[2]
    related = [relation(host, parent, parent.partition(".")[2]) for relation in RELATIONS]
    name = st.sampled_from([name.encode() for name in related] + [spelled(name) for name in related])
    common_names = draw(st.lists(name.filter(bool), max_size=2))
    alternative = st.tuples(st.sampled_from([DNS, DNS, DNS, URI, MAIL]), name)
    address = st.tuples(st.just(IP), st.sampled_from(OCTETS))
    lists = st.lists(alternative | alternative | address, min_size=draw(st.sampled_from([0, 1, 1])), max_size=3)
    return host, common_names, draw(st.one_of(lists, lists, st.none()))


@fuzz(5, case=cases())
def test_accepted_host_is_accepted_by_openssl(
    case: tuple[str, list[bytes], list[tuple[int, bytes]] | None],
) -> None:
    host, common_names, alternative = case
    check(common_names, alternative, host)


@pytest.mark.parametrize("name", CORPUS)
def test_stored_names_are_compared_with_openssl(name: str) -> None:
    case: dict[str, Any] = CORPUS[name]
    octets = [(IP, ipaddress.ip_address(address).packed) for address in case.get("addresses", [])]
    alternative = [*((DNS, each.encode()) for each in case.get("names", [])), *octets]
    check([each.encode() for each in case.get("common_names", [])], alternative, case["host"])


@pytest.mark.parametrize(
    ("common_names", "alternative", "host", "reason"),
    [
        ([], [(DNS, b"*.example.com")], "my_db.example.com", "underscore under a wildcard"),
        ([], [(DNS, b"*.my_zone.example")], "db.my_zone.example", "underscore under a wildcard"),
        ([], [(DNS, "*.b\u00fccher.example".encode())], "db.b\u00fccher.example", "UTF-8 under a wildcard"),
        ([], [(DNS, b"*.-.example")], "db.-.example", "hyphen at the end of a label under a wildcard"),
        ([], [(DNS, b"*.example.com.")], "db.example.com.", "dot at the end under a wildcard"),
        ([], [(DNS, b"127.0.0.1")], "127.0.0.1", "address among the names"),
        ([b"127.0.0.1"], [], "127.0.0.1", "address among the names"),
    ],
)
def test_each_exception_is_needed(
    common_names: list[bytes], alternative: list[tuple[int, bytes]], host: str, reason: str
) -> None:
    der = certificate(common_names, alternative)
    assert name_fault(der, host) is None
    assert not openssl.is_for(der, host.encode(), common_name=True)
    assert exception_for(common_names, alternative, host, common_name=True) == reason


def test_wildcard_for_several_labels_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: bytes, wanted: frozenset[bytes], *, pattern: bool) -> bool:
        name = name.lower()
        return name in wanted or (
            name.startswith(b"*.") and pattern and any(host.endswith(name[1:]) for host in wanted)
        )

    monkeypatch.setattr(names, "_is_for", broken)
    assert isinstance(failure(test_accepted_host_is_accepted_by_openssl), AssertionError)


def test_comparison_that_ends_at_a_nul_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    correct = names.subject_names

    def broken(der: bytes) -> Any:
        found = correct(der)
        cut = (name._replace(content=name.content.partition(b"\0")[0]) for name in found.alternative_names)
        return found._replace(alternative_names=tuple(cut))

    monkeypatch.setattr(names, "subject_names", broken)
    assert isinstance(failure(test_accepted_host_is_accepted_by_openssl), AssertionError)


def test_common_name_in_addition_to_other_names_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    correct = names.subject_names

    def broken(der: bytes) -> Any:
        found = correct(der)
        return found._replace(alternative_names=()) if found.common_names else found

    monkeypatch.setattr(names, "subject_names", broken)
    assert isinstance(failure(test_accepted_host_is_accepted_by_openssl), AssertionError)
