"""Server messages: arbitrary bytes in any fragmentation are split as a simple model splits them."""

from __future__ import annotations

import struct
import tracemalloc
from typing import Any

import pytest
from hypothesis import strategies as st

from babar_tls.config import ProtocolVersion
from babar_tls.errors import ProtocolError
from babar_tls.protocol import messages
from babar_tls.protocol.message_reader import MessageReader
from babar_tls.protocol.messages import Message

from .mutations import fragments, mutated
from .profile import corpus, failure, fuzz

CORPUS = corpus("messages")

#: The longest message of each type before ReadyForQuery.
STARTUP_LIMITS = {"R": 65536, "E": 30000, "N": 30000, "S": 30000, "v": 30000, "K": 30000, "Z": 5}
LONGEST = 0x3FFFFFFF


def model(data: bytes, *, started: bool) -> tuple[list[tuple[bytes, bytes]], bool]:
    """Split `data` in one piece as the protocol describes; return the messages, and whether an error follows."""
    found = []
    while data:
        kind = data[:1]
        limit = LONGEST if started else STARTUP_LIMITS.get(kind.decode("latin-1"))
        if limit is None:
            return found, True
        if len(data) < 5:
            break
        (length,) = struct.unpack_from("!I", data, 1)
        if kind == b"E" and not started and data[1] >= 32:  # protocol 2: text instead of a length
            text, end, rest = data[1:].partition(b"\0")
            if len(text) > 30000:
                return found, True
            if not end:
                break
            found.append((b"E", b"VFATAL\0C53000\0M" + text.strip() + b"\0\0"))
            data = rest
            continue
        if not 4 <= length <= limit:
            return found, True
        if len(data) < 1 + length:
            break
        found.append((kind, data[5 : 1 + length]))
        data = data[1 + length :]
    return found, False


def read(pieces: list[bytes], *, started: bool, take: bytes = b"", copied: bool = True) -> tuple[list[Any], bool]:
    """Read a stream that arrives in these pieces: the messages, and whether an error followed them.

    Args:
        pieces: The stream.
        started: The start-up phase is over.
        take: Read messages of this type by `take`, the others one by one.
        copied: Hand over the bytes by `feed`, otherwise put them into the reader's own space.
    """
    reader = MessageReader()
    if started:
        reader.ready()
    found: list[Any] = []
    try:
        for piece in pieces:
            if copied:
                reader.feed(piece)
            while piece and not copied:
                space = reader.space()
                count = min(len(space), len(piece))
                space[:count] = piece[:count]
                reader.received(count)
                piece = piece[count:]  # noqa: PLW2901 - the rest of the same piece
            while True:
                batch = reader.take(take) if take else []
                found += [(take, payload) for payload in batch]
                message = reader.next_message()
                if message is not None:
                    assert isinstance(message, Message)
                    found.append(message)
                elif not batch:
                    break
    except ProtocolError:
        return found, True
    return found, False


FRAMES = st.builds(
    messages.frame,
    st.sampled_from([bytes([kind]) for kind in b"RENSvKZTDCdc1\0\xff"]),
    st.binary(max_size=40) | st.sampled_from([bytes(0), bytes(260), bytes(261), bytes(300), b"SFATAL\0Mno\0\0"]),
)
HEADERS = st.builds(
    lambda kind, length, rest: bytes([kind]) + struct.pack("!I", length) + rest,
    st.sampled_from(b"RENSvKZDd"),
    st.sampled_from([0, 3, 4, 5, 264, 265, 30000, 30001, 65536, 65537, LONGEST, LONGEST + 1, 0x20202020, 2**32 - 1]),
    st.binary(max_size=20),
)
STREAMS = st.one_of(
    st.lists(FRAMES, max_size=6).map(b"".join),
    st.tuples(st.lists(FRAMES, max_size=3).map(b"".join), HEADERS).map(b"".join),
    mutated(list(CORPUS.values())),
    st.binary(max_size=60),
)


@fuzz(2, data=st.data(), stream=STREAMS, started=st.booleans(), take=st.sampled_from([b"", b"d", b"S", b"D"]))
def test_fragmentation_does_not_change_messages(data: st.DataObject, stream: bytes, started: bool, take: bytes) -> None:
    expected = model(stream, started=started)
    assert read([stream], started=started) == expected
    pieces = data.draw(fragments(stream))
    assert read(pieces, started=started, copied=data.draw(st.booleans())) == expected
    assert read(pieces, started=started, take=take) == expected


PAYLOADS = st.one_of(
    st.binary(max_size=60),
    st.binary(max_size=60).map(lambda data: data + b"\0"),
    mutated(
        [
            b"SFATAL\0VFATAL\0C28P01\0Mno\0P7\0\0",
            b"TimeZone\0UTC\0",
            b"\0\0\x04\xd2" + bytes(32),
            b"\0\3\0\0\0\1a\xff\xff\xff\xff\0\0\0\0",
            b"\0\2\0\0\0\2\xc3\xa4\x7f\xff\xff\xff",
            b"\xff\xff" + b"\xff" * 40,
        ]
    ),
)


def encode_row(values: tuple[str | None, ...]) -> bytes:
    fields = (
        b"\xff" * 4 if value is None else struct.pack("!i", len(value.encode())) + value.encode() for value in values
    )
    return struct.pack("!H", len(values)) + b"".join(fields)


@fuzz(2, payload=PAYLOADS)
def test_parsed_values_encode_to_the_payload(payload: bytes) -> None:
    def parsed(parse: Any) -> Any:
        try:
            return parse(payload)
        except ProtocolError:
            return None

    strings = parsed(messages.cstrings)
    assert strings is None or b"".join(string + b"\0" for string in strings) == payload
    for version in (messages.PROTOCOL_3_0, ProtocolVersion.V3_2.number):
        key = parsed(lambda data, version=version: messages.parse_backend_key_data(data, version))
        assert key is None or struct.pack("!I", key[0]) + key[1] == payload
    fields = parsed(messages.parse_fields)
    assert (fields is None) is not payload.endswith(b"\0")
    status = parsed(messages.parse_parameter_status)
    assert (status is None) is not (payload.count(b"\0") == 2 and payload.endswith(b"\0"))
    row = parsed(messages.parse_data_row)
    if row is not None and not any(value and "\ufffd" in value for value in row):
        assert encode_row(row) == payload


@fuzz(0.5, kind=st.sampled_from(b"dDTE"), length=st.integers(4, LONGEST), sent=st.integers(0, 40_000), data=st.data())
def test_announced_length_allocates_no_memory(kind: int, length: int, sent: int, data: st.DataObject) -> None:
    pieces = data.draw(fragments(bytes([kind]) + struct.pack("!I", length) + bytes(min(sent, length - 4))))
    tracemalloc.start()
    try:
        read(pieces, started=True)
        assert tracemalloc.get_traced_memory()[1] < 60_000 + 8 * sent
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("started", [False, True])
@pytest.mark.parametrize("name", CORPUS)
def test_stored_streams_are_read_in_every_fragmentation(name: str, started: bool) -> None:
    stream = CORPUS[name]
    expected = model(stream, started=started)
    assert read([stream], started=started) == expected
    assert read([stream[at : at + 1] for at in range(len(stream))], started=started) == expected
    for cut in range(0, len(stream), 1 + len(stream) // 200):
        assert read([stream[:cut], stream[cut:]], started=started) == expected


def test_reader_that_loses_an_incomplete_message_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    correct = MessageReader.next_message

    def broken(self: MessageReader) -> Message | None:
        message = correct(self)
        if message is None and len(self.pending) > 4:
            self._start = self._end
        return message

    monkeypatch.setattr(MessageReader, "next_message", broken)
    assert isinstance(failure(test_fragmentation_does_not_change_messages), AssertionError)


def test_reader_without_limits_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MessageReader, "_limit", lambda _self, _kind: LONGEST)
    assert isinstance(failure(test_fragmentation_does_not_change_messages), AssertionError)


def test_parser_that_ignores_trailing_bytes_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    correct = messages.parse_backend_key_data
    monkeypatch.setattr(messages, "parse_backend_key_data", lambda payload, version: correct(payload[:36], version))
    assert isinstance(failure(test_parsed_values_encode_to_the_payload), AssertionError)


def test_reader_that_allocates_the_announced_length_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    correct = MessageReader.next_message

    def broken(self: MessageReader) -> Message | None:
        if len(self.pending) >= 5:
            bytearray(min(struct.unpack_from("!I", self.pending, 1)[0], 10_000_000))
        return correct(self)

    monkeypatch.setattr(MessageReader, "next_message", broken)
    assert isinstance(failure(test_announced_length_allocates_no_memory), AssertionError)
