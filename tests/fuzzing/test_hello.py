"""TLS hellos: generated hellos are parsed to the same values, and arbitrary bytes in any fragmentation are handled."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

import pytest
from hypothesis import strategies as st

from babar_tls.tls import hello, key_exchange
from babar_tls.tls.algorithms import group_name
from babar_tls.tls.hello import client_offer, server_choice
from babar_tls.tls.key_exchange import KeyExchangeObserver

from .mutations import fragments, mutated
from .profile import corpus, failure, fuzz

if TYPE_CHECKING:
    from collections.abc import Iterable

CORPUS = corpus("hello")
CLIENTS = [data for name, data in CORPUS.items() if name.startswith("client")]
SERVERS = [data for name, data in CORPUS.items() if name.startswith("server")]

RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")  # RFC 8446 §4.1.3
VERSIONS = {0x0301: "TLSv1", 0x0302: "TLSv1.1", 0x0303: "TLSv1.2", 0x0304: "TLSv1.3"}


def vector(size: int, *contents: bytes) -> bytes:
    content = b"".join(contents)
    return len(content).to_bytes(size, "big") + content


def numbers(values: Iterable[int]) -> bytes:
    return b"".join(value.to_bytes(2, "big") for value in values)


def extension(kind: int, content: bytes) -> bytes:
    return kind.to_bytes(2, "big") + vector(2, content)


def records(messages: bytes, sizes: list[int]) -> bytes:
    """Put handshake messages into records of these sizes and one with the rest."""
    found = b""
    for size in [*sizes, len(messages)]:
        part, messages = messages[:size], messages[size:]
        found += b"\x16\x03\x03" + vector(2, part) if part else b""
    return found


def observe(pieces: Iterable[bytes], ask: Iterable[bool] = ()) -> tuple[str | None, bool]:
    """Return the group and whether the server sent a retry.

    `ask` selects the pieces after which the group is queried.
    """
    observer = KeyExchangeObserver()
    asked = iter(ask)
    for piece in pieces:
        observer.receive(piece)
        if next(asked, False):
            assert observer.group is None or isinstance(observer.group, str)
    return observer.group, observer.retried


# Structured hellos -------------------------------------------------------------------------------------------------

CODES = st.integers(0, 0xFFFF).filter(lambda code: code & 0x0F0F != 0x0A0A) | st.sampled_from([23, 24, 29, 0x11EC])
RECORD_SIZES = st.lists(st.integers(0, 60), max_size=4)
UNKNOWN = st.builds(extension, st.sampled_from([5, 13, 23, 0xFF01, 0xFAFA]), st.binary(max_size=8))


def server_hello(*, tls13: bool, retry: bool, cipher: int, group: int, others: list[bytes]) -> bytes:
    share = numbers([group]) + (b"" if retry else vector(2, b"share"))
    extensions = [*others, *([extension(43, b"\3\4"), extension(51, share)] if tls13 else [])]
    body = b"\3\3" + (RETRY if retry else b"r" * 32) + vector(1, b"session") + numbers([cipher]) + b"\0"
    return b"\2" + vector(3, body, vector(2, *extensions) if extensions else b"")


@fuzz(
    1,
    data=st.data(),
    cipher=st.sampled_from([0x1301, 0x1302]),
    group=CODES,
    retries=st.booleans(),
    others=st.lists(UNKNOWN, max_size=3),
    sizes=RECORD_SIZES,
)
def test_tls_1_3_group_is_that_of_the_key_share(
    *, data: st.DataObject, cipher: int, group: int, retries: bool, others: list[bytes], sizes: list[int]
) -> None:
    flight = b""
    if retries:
        flight += records(server_hello(tls13=True, retry=True, cipher=cipher, group=24, others=[]), sizes)
        flight += b"\x14\x03\x03\x00\x01\x01"
    flight += records(server_hello(tls13=True, retry=False, cipher=cipher, group=group, others=others), sizes)
    flight += b"\x17\x03\x03" + vector(2, b"encrypted")
    assert observe(data.draw(fragments(flight))) == (group_name(group), retries)


@fuzz(1, data=st.data(), group=CODES, ecdhe=st.booleans(), certificate=st.binary(max_size=80), sizes=RECORD_SIZES)
def test_tls_1_2_group_is_that_of_the_key_exchange(
    data: st.DataObject, group: int, ecdhe: bool, certificate: bytes, sizes: list[int]
) -> None:
    cipher = 0xC02F if ecdhe else 0x009E  # ECDHE-RSA and DHE-RSA, both with AES-128-GCM-SHA256
    messages = server_hello(tls13=False, retry=False, cipher=cipher, group=0, others=[])
    messages += b"\x0b" + vector(3, certificate)
    messages += b"\x0c" + vector(3, b"\3", numbers([group]), vector(1, b"point")) + b"\x0e\0\0\0"
    expected = group_name(group) if ecdhe else None
    assert observe(data.draw(fragments(records(messages, sizes)))) == (expected, False)


@fuzz(
    2,
    versions=st.lists(CODES | st.sampled_from(sorted(VERSIONS)), min_size=1, max_size=4),
    groups=st.lists(CODES, max_size=5),
    ciphers=st.lists(CODES.filter(lambda code: code not in (0x00FF, 0x5600)), max_size=5),
    protocols=st.lists(st.text("abc/1.", min_size=1), max_size=3),
    name=st.none() | st.text("abc.-", min_size=1, max_size=20),
    grease=st.booleans(),
    sizes=RECORD_SIZES,
)
def test_offer_is_parsed_to_its_values(
    *,
    versions: list[int],
    groups: list[int],
    ciphers: list[int],
    protocols: list[str],
    name: str | None,
    grease: bool,
    sizes: list[int],
) -> None:
    more = [0x8A8A] if grease else []
    shares = (numbers([group]) + vector(2, b"share") for group in [*more, *groups[:2]])
    body = b"\3\3" + b"r" * 32 + vector(1) + vector(2, numbers(more + ciphers)) + vector(1, b"\0")
    extensions = [
        extension(43, vector(1, numbers(more + versions))),
        extension(10, vector(2, numbers(more + groups))),
        extension(51, vector(2, *shares)),
        extension(16, vector(2, *(vector(1, protocol.encode()) for protocol in protocols))),
    ]
    if name is not None:
        extensions.append(extension(0, vector(2, b"\0", vector(2, name.encode()))))
    offer = client_offer(records(b"\1" + vector(3, body, vector(2, *extensions)), sizes))
    assert offer.versions == tuple(VERSIONS[code] for code in versions if code in VERSIONS)
    assert offer.groups == tuple(map(group_name, groups))
    assert offer.key_shares == tuple(map(group_name, groups[:2]))
    assert (offer.ciphers, offer.alpn, offer.server_name) == (tuple(ciphers), tuple(protocols), name)


# Damaged and arbitrary bytes ---------------------------------------------------------------------------------------

FLIGHTS = st.one_of(
    mutated(SERVERS),
    mutated(SERVERS, max_changes=20),
    mutated([*SERVERS, *CLIENTS]),
    st.binary(max_size=80),
    st.binary(max_size=80).map(lambda data: b"\x16\x03\x03" + vector(2, data)),
)


@fuzz(4, data=st.data(), flight=FLIGHTS, ask=st.lists(st.booleans(), max_size=12))
def test_fragmentation_does_not_change_the_observed_group(data: st.DataObject, flight: bytes, ask: list[bool]) -> None:
    assert observe(data.draw(fragments(flight)), ask) == observe([flight])


@fuzz(3, flight=mutated(CLIENTS) | st.binary(max_size=80))
def test_damaged_offer_is_parsed_or_refused(flight: bytes) -> None:
    for read in (client_offer, server_choice):
        try:
            read(flight)
        except ValueError:
            pass


@fuzz(
    0.1,
    kind=st.sampled_from([2, 11, 12, 14]),
    size=st.integers(0, 0xFFFFFF),
    record=st.integers(0, 0xFFFF),
    filler=st.sampled_from([b"\xff", b"\xff", b"\0"]),
    step=st.integers(500, 70_000),
)
def test_observer_keeps_a_bounded_number_of_bytes(kind: int, size: int, record: int, filler: bytes, step: int) -> None:
    first = bytes([kind]) + size.to_bytes(3, "big")
    total = 800_000 if record > 1000 and filler != b"\0" else 150_000  # many short messages are slow to read
    stream = (b"\x16\x03\x03" + vector(2, (first + filler * record)[:record])) * (total // (record + 5) + 1)
    pieces = [stream[at : at + step] for at in range(0, total, step)]
    observer = KeyExchangeObserver()
    tracemalloc.start()
    try:
        for piece in pieces:
            observer.receive(piece)
        assert tracemalloc.get_traced_memory()[1] < 600_000
        kept = tracemalloc.get_traced_memory()[0]
        assert observer.group is None or isinstance(observer.group, str)
        assert kept < 400_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", CORPUS)
def test_stored_flights_are_observed_in_every_fragmentation(name: str) -> None:
    flight = CORPUS[name]
    expected = observe([flight])
    assert observe(flight[at : at + 1] for at in range(len(flight))) == expected
    for cut in range(0, len(flight), 1 + len(flight) // 100):
        assert observe([flight[:cut], flight[cut:]], [True]) == expected
        test_damaged_offer_is_parsed_or_refused.check(flight[:cut])


# Sanity checks -----------------------------------------------------------------------------------------------------


def test_observer_that_expects_whole_records_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    correct = KeyExchangeObserver.receive

    def broken(self: KeyExchangeObserver, data: bytes) -> None:
        correct(self, data if len(data) > 5 else b"")

    monkeypatch.setattr(KeyExchangeObserver, "receive", broken)
    assert failure(test_fragmentation_does_not_change_the_observed_group) is not None
    assert failure(test_tls_1_3_group_is_that_of_the_key_share) is not None


def test_observer_that_keeps_everything_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_exchange, "_KEPT", 1 << 30)
    assert isinstance(failure(test_observer_keeps_a_bounded_number_of_bytes), AssertionError)


def test_parser_that_drops_a_list_entry_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    correct = hello._numbers
    monkeypatch.setattr(hello, "_numbers", lambda data: correct(data[:8]))
    assert isinstance(failure(test_offer_is_parsed_to_its_values), AssertionError)
