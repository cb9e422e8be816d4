"""BER: the names of a certificate are read as OpenSSL reads them, in every encoding."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import strategies as st

from babar_tls.x509 import der as module
from babar_tls.x509.certificate import parse_certificate, public_key_info, read_fields
from babar_tls.x509.der import DerError, elements, first_element, string
from babar_tls.x509.hostname import name_fault
from babar_tls.x509.signature_algorithm import signature_algorithm

from . import openssl
from .mutations import mutated
from .profile import failure, fuzz
from .test_hostname import DNS, IP, element

HOST = "db.example.com"
OTHER_NAME = 0xA0


class Node(NamedTuple):
    """An element as a tree: a constructed one has children, a primitive one has content."""

    tag: int
    content: bytes | list[Node]

    def encode(self) -> bytes:
        """Return the element in DER."""
        if isinstance(self.content, bytes):
            return element(self.tag, self.content)
        return element(self.tag, *(child.encode() for child in self.content))


@st.composite
def encodings(draw: st.DrawFn, node: Node) -> bytes:
    """Return the element in any form that BER allows: long lengths, indefinite lengths, strings in parts."""
    tag, content = node
    if isinstance(content, bytes):
        if tag in (0x04, DNS, IP) and draw(st.integers(0, 3)) == 0:
            cut = draw(st.integers(0, len(content)))
            tag |= 0x20
            data = b"".join(element(0x04, part) for part in (content[:cut], content[cut:]) if part)
        else:
            data = content
    else:
        data = b"".join([draw(encodings(child)) for child in content])
    if tag & 0x20 and draw(st.integers(0, 3)) == 0:
        return bytes([tag, 0x80]) + data + b"\0\0"
    size = draw(st.sampled_from([0, 0, 1, 2, 4]))
    if size == 0 or len(data) >= 256**size:
        return element(tag, data)
    return bytes([tag, 0x80 | size]) + len(data).to_bytes(size, "big") + data


NAMES = st.lists(
    st.one_of(
        st.sampled_from([HOST, "*.example.com", "other.example.com", "*.com"]).map(lambda n: Node(DNS, n.encode())),
        st.sampled_from([b"\x7f\0\0\1", b"127.0.0.1"]).map(lambda octets: Node(IP, octets)),
        st.just(Node(OTHER_NAME, [Node(0x06, b"\x2a\x03"), Node(0xA0, [Node(0x0C, b"x")])])),
    ),
    min_size=1,
    max_size=3,
)


ALGORITHM = Node(0x30, [Node(0x06, bytes.fromhex("2a8648ce3d040302"))])  # ECDSA with SHA-256
VALIDITY = Node(0x30, [Node(0x17, b"250101000000Z"), Node(0x17, b"450101000000Z")])
KEY = Node(0x30, [Node(0x30, [Node(0x06, bytes.fromhex("2b6570"))]), Node(0x03, bytes(33))])  # Ed25519


@st.composite
def certificates(draw: st.DrawFn) -> bytes:
    """Return a certificate in any form, including its extension of names."""
    names = Node(0x30, draw(NAMES))  # type: ignore[arg-type]  # a list of nodes
    extension = Node(0x30, [Node(0x06, b"\x55\x1d\x11"), Node(0x04, draw(encodings(names)))])
    extensions = Node(0xA3, [Node(0x30, [extension])])
    version, serial, empty = Node(0xA0, [Node(0x02, b"\2")]), Node(0x02, b"\1"), Node(0x30, [])
    tbs = Node(0x30, [version, serial, ALGORITHM, empty, VALIDITY, empty, KEY, extensions])
    return draw(encodings(Node(0x30, [tbs, ALGORITHM, Node(0x03, b"\0signature")])))


@fuzz(3, der=certificates())
def test_names_that_openssl_finds_are_found(der: bytes) -> None:
    for host in (HOST, "127.0.0.1"):
        theirs = openssl.is_for(der, host.encode(), common_name=False)
        assert (name_fault(der, host, common_name=False) is None) is theirs


@fuzz(3, der=certificates())
def test_pinned_key_is_the_key_that_openssl_uses(der: bytes) -> None:
    check_key(der)
    assert plain(public_key_info(der)) == plain(KEY.encode())
    assert parse_certificate(der).der == der


@fuzz(4, der=certificates().flatmap(lambda der: mutated([der], max_changes=2)))
def test_certificates_that_openssl_reads_are_read(der: bytes) -> None:
    check_key(der)


def check_key(der: bytes) -> None:
    theirs = openssl.public_key_info(der)
    if theirs is None:
        return
    assert read_fields(der).subject.tag == 0x30
    assert plain(public_key_info(der)) == plain(theirs)


@fuzz(3, der=certificates())
def test_signature_algorithm_is_read_only_from_der(der: bytes) -> None:
    certificate = first_element(der)
    parts = list(elements(certificate.content))
    inner = list(elements(parts[1].content))
    if all(each.is_der for each in (certificate, *parts, *inner)):
        assert signature_algorithm(der).oid == "1.2.840.10045.4.3.2"
    else:
        with pytest.raises(DerError):
            signature_algorithm(der)


TREES: st.SearchStrategy[Node] = st.recursive(
    st.builds(Node, st.sampled_from([0x04, 0x02, 0x0C, DNS]), st.binary(max_size=200)),
    lambda children: st.builds(Node, st.sampled_from([0x30, 0xA0]), st.lists(children, max_size=4)),
    max_leaves=12,
)


def plain(data: bytes) -> list[object]:
    """Return the tree of the elements, with strings in one part."""
    found: list[object] = []
    for each in elements(data):
        if each.tag in (0x24, 0xA2):
            found.append((each.tag & ~0x20, string(each)))
        else:
            found.append((each.tag, plain(each.content) if each.tag & 0x20 else each.content))
    return found


@fuzz(2, drawn=TREES.flatmap(lambda tree: st.tuples(st.just(tree), encodings(tree))))
def test_all_forms_are_the_same_element(drawn: tuple[Node, bytes]) -> None:
    tree, encoded = drawn
    assert plain(encoded) == plain(tree.encode())
    assert first_element(encoded + b"more").encoded == encoded


@fuzz(4, data=st.binary(max_size=60) | st.lists(st.sampled_from([b"\x30\x80", b"\0\0", b"\x04\1x"])).map(b"".join))
def test_any_bytes_are_elements_or_an_error(data: bytes) -> None:
    try:
        found = list(elements(data))
    except DerError:
        return
    assert b"".join(each.encoded for each in found) == data
    for each in found:
        try:
            string(each)
        except DerError:
            pass


def test_nesting_is_limited() -> None:
    with pytest.raises(DerError):
        list(elements(b"\x30\x80" * 100_000))
    data = b""
    for _ in range(100):
        data = element(0x24, data)
    with pytest.raises(DerError):
        string(first_element(data))


def test_reader_that_ignores_the_end_of_contents_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(data: bytes, start: int, content: int, _depth: int) -> tuple[module.Element, int]:
        return module.Element(data[start], data[content:], data[start:]), len(data)

    monkeypatch.setattr(module, "_indefinite", broken)
    assert failure(test_all_forms_are_the_same_element) is not None
