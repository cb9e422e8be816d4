"""Messages are encoded exactly, and invalid server messages raise only `ProtocolError`."""

from __future__ import annotations

import re
import struct
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from babar_tls.errors import ConfigError, ProtocolError, ServerError
from babar_tls.protocol import messages
from babar_tls.protocol.message_reader import MAX_ERROR_LENGTH, STARTUP, MessageReader

from .script import split

if TYPE_CHECKING:
    from collections.abc import Callable

    from babar_tls.protocol.messages import Message

STARTUP_KINDS = b"RENSvKZ"
PROTOCOL_3_2 = 0x30002


def read_all(reader: MessageReader) -> list[Message]:
    found = []
    while (message := reader.next_message()) is not None:
        found.append(message)
    return found


def ready_reader() -> MessageReader:
    reader = MessageReader()
    reader.ready()
    return reader


# Encoding ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoded", "expected"),
    [
        (messages.ssl_request(), "00000008 04d2162f"),
        (messages.cancel_request(0x01020304, b"\xaa\xbb\xcc\xdd"), "00000010 04d2162e 01020304 aabbccdd"),
        (messages.cancel_request(0xFFFFFFFF, b""), "0000000c 04d2162e ffffffff"),
        (messages.startup([]), "00000009 00030000 00"),
        (messages.startup([], PROTOCOL_3_2), "00000009 00030002 00"),
        (messages.startup([("user", "é")]), "00000011 00030000 7573657200 c3a900 00"),
        (messages.password(b"pw"), "70 00000007 707700"),
        (messages.password(b""), "70 00000005 00"),
        (messages.sasl_initial_response("M", b"xy"), "70 0000000c 4d00 00000002 7879"),
        (messages.sasl_response(b"xy"), "70 00000006 7879"),
        (messages.query("é"), "51 00000007 c3a900"),
        (messages.copy_fail("no"), "66 00000007 6e6f00"),
        (messages.TERMINATE, "58 00000004"),
        (messages.frame(b"Z", b"I"), "5a 00000005 49"),
    ],
)
def test_messages_are_encoded_as_documented(encoded: bytes, expected: str) -> None:
    assert encoded == bytes.fromhex(expected)


def test_long_cancel_key_is_encoded() -> None:
    """Keys have up to 256 bytes since protocol 3.2."""
    encoded = messages.cancel_request(1, b"k" * 256)
    assert struct.unpack_from("!I", encoded) == (len(encoded),) == (268,)


@pytest.mark.parametrize(
    "encode",
    [lambda: messages.password(b"a\0b"), lambda: messages.query("a\0b"), lambda: messages.query("\ud800")],
    ids=["password", "query", "surrogate"],
)
def test_text_that_cannot_be_encoded_is_refused(encode: Callable[[], bytes]) -> None:
    with pytest.raises(ConfigError):
        encode()


# Reading -----------------------------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.sampled_from([bytes([c]) for c in b"RENSv"]), st.binary(max_size=60)), max_size=8),
    st.lists(st.integers(0, 600)),
)
def test_fragmentation_does_not_change_messages(sequence: list[tuple[bytes, bytes]], cuts: list[int]) -> None:
    reader = MessageReader()
    found = []
    for piece in split(b"".join(messages.frame(*item) for item in sequence), cuts):
        reader.feed(piece)
        found += read_all(reader)
    assert found == sequence
    assert reader.pending == b""


@pytest.mark.parametrize("kind", sorted({*range(256)} - {*STARTUP_KINDS}))
def test_unknown_type_before_ready_is_refused_at_its_first_byte(kind: int) -> None:
    reader = MessageReader()
    reader.feed(bytes([kind]))
    with pytest.raises(ProtocolError, match="expected authentication request from server, but received"):
        reader.next_message()


@pytest.mark.parametrize("length", [0, 1, 2, 3, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x40000000])
@pytest.mark.parametrize("started", [False, True])
def test_invalid_length_is_refused(length: int, started: bool) -> None:
    """The minimum is four bytes, the maximum one gigabyte."""
    reader = ready_reader() if started else MessageReader()
    reader.feed(b"R" + struct.pack("!I", length))
    with pytest.raises(ProtocolError, match=f"impossible length, {length}"):
        reader.next_message()


def test_protocol_2_error_is_read_in_any_fragmentation() -> None:
    """A postmaster that cannot fork sends it without a length."""
    raw = b"Ecould not fork new process for connection: Resource temporarily unavailable\n\0"
    for cut in range(1, len(raw)):
        reader = MessageReader()
        reader.feed(raw[:cut])
        assert reader.next_message() is None
        reader.feed(raw[cut:])
        message = reader.next_message()
        assert message is not None
        assert messages.parse_fields(message.payload) == {
            "V": "FATAL",
            "C": "53000",
            "M": "could not fork new process for connection: Resource temporarily unavailable",
        }


def test_unterminated_protocol_2_error_is_limited() -> None:
    reader = MessageReader()
    reader.feed(b"E" + b"x" * 30001)
    with pytest.raises(ProtocolError, match="unterminated"):
        reader.next_message()


@pytest.mark.parametrize(
    ("kind", "longest"),
    [(b"R", 65536), (b"N", 30000), (b"S", 30000), (b"v", 30000), (b"K", 30000), (b"Z", 5)],
)
def test_each_type_has_a_length_limit_before_ready(kind: bytes, longest: int) -> None:
    """One more byte is refused when the header arrives."""
    reader = MessageReader()
    reader.feed(kind + struct.pack("!I", longest) + bytes(longest - 4))
    assert reader.next_message() == (kind, bytes(longest - 4))
    reader.feed(kind + struct.pack("!I", longest + 1))
    with pytest.raises(ProtocolError, match="impossible length"):
        reader.next_message()


def test_announced_length_allocates_no_memory() -> None:
    reader = ready_reader()
    tracemalloc.start()
    try:
        reader.feed(b"d" + struct.pack("!I", 0x3FFFFFFF))
        assert reader.next_message() is None
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_bytes_before_ready_are_limited() -> None:
    reader = MessageReader()
    notice = messages.frame(b"N", bytes(20_000))
    with pytest.raises(ProtocolError, match="sent more than 1048576 bytes before it was ready"):  # noqa: PT012 - the loop
        for _ in range(60):
            reader.feed(notice)
            read_all(reader)


def test_messages_before_ready_are_limited() -> None:
    reader = MessageReader()
    reader.feed(messages.frame(b"N") * 2001)
    with pytest.raises(ProtocolError, match="sent more than 2000 messages before it was ready"):
        read_all(reader)


def test_limits_end_with_ready_for_query() -> None:
    reader = ready_reader()
    for _ in range(60):
        reader.feed(messages.frame(b"D", bytes(40_000)))
    assert len(read_all(reader)) == 60


# Bulk --------------------------------------------------------------------------------------------------------------


def put(reader: MessageReader, data: bytes) -> None:
    """Write bytes into the reader's buffer as a driver does, in pieces that fit."""
    while data:
        space = reader.space()
        assert space
        count = min(len(space), len(data))
        space[:count] = data[:count]
        reader.received(count)
        data = data[count:]


SIZES = st.one_of(st.integers(0, 30), st.sampled_from([2039, 2043, 2044, 8187, 65531, 65532, 262_140, 900_000]))


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from([b"d", b"D", b"N", b"Z"]), SIZES), max_size=12),
    st.lists(st.floats(0, 1), max_size=20),
    st.booleans(),
)
def test_fragmentation_does_not_change_bulk_data(
    sequence: list[tuple[bytes, int]], cuts: list[float], by_feed: bool
) -> None:
    """`take` and `next_message` return all messages in order."""
    sent = [(kind, bytes([number % 251]) * size) for number, (kind, size) in enumerate(sequence)]
    data = b"".join(messages.frame(*item) for item in sent)
    reader = ready_reader()
    found: list[tuple[bytes, bytes]] = []
    for piece in split(data, [int(cut * len(data)) for cut in cuts]):
        reader.feed(piece) if by_feed else put(reader, piece)
        while True:
            batch = reader.take(b"d")
            found += [(b"d", payload) for payload in batch]
            message = reader.next_message()
            if message is not None:
                found.append(message)
            elif not batch:
                break
    assert found == sent
    assert all(type(payload) is bytes for _, payload in found)
    assert reader.pending == b""


def test_take_stops_at_other_and_incomplete_messages() -> None:
    """Invalid messages are left to `next_message` too."""
    reader = ready_reader()
    reader.feed(messages.frame(b"d", b"1") * 2 + messages.frame(b"c") + messages.frame(b"d", b"2") + b"d\0\0\0\5")
    assert reader.take(b"d") == [b"1", b"1"]
    assert reader.take(b"d") == []
    assert reader.next_message() == (b"c", b"")
    assert reader.take(b"d") == [b"2"]
    assert reader.take(b"d") == []
    reader.feed(b"3" + b"d\0\0\0\3")
    assert reader.take(b"d") == [b"3"]
    assert reader.take(b"d") == []
    with pytest.raises(ProtocolError, match="impossible length, 3"):
        reader.next_message()


def test_take_has_the_limits_of_next_message_before_ready() -> None:
    reader = MessageReader()
    reader.feed(messages.frame(b"d", b"1"))
    assert reader.take(b"S") == []
    for attempt in (reader.next_message, lambda: reader.take(b"d")):
        with pytest.raises(ProtocolError, match="expected authentication request"):
            attempt()


@pytest.mark.parametrize("excess", [0, 1])
def test_take_leaves_long_messages_before_ready(excess: int) -> None:
    """`next_message` refuses them."""
    reader = MessageReader()
    payload = bytes(MAX_ERROR_LENGTH - 4 + excess)
    reader.feed(messages.frame(b"S", b"1") + messages.frame(b"S", payload))
    assert reader.take(b"S") == ([b"1"] if excess else [b"1", payload])
    if excess:
        with pytest.raises(ProtocolError, match="impossible length"):
            reader.next_message()


def test_take_counts_messages_before_ready() -> None:
    reader = MessageReader()
    reader.feed(messages.frame(b"S", b"1") * STARTUP.total_messages)
    assert len(reader.take(b"S")) == STARTUP.total_messages
    reader.feed(messages.frame(b"S", b"1"))
    with pytest.raises(ProtocolError, match="messages before it was ready"):
        reader.take(b"S")


def test_buffer_of_a_long_message_is_freed_at_the_end_of_the_answer() -> None:
    reader = ready_reader()
    tracemalloc.start()
    try:
        put(reader, messages.frame(b"d", bytes(5_000_000)))
        assert len(reader.take(b"d")) == 1
        assert tracemalloc.get_traced_memory()[0] > 5_000_000
        put(reader, messages.frame(b"Z", b"I"))
        assert reader.next_message() == (b"Z", b"I")
        assert tracemalloc.get_traced_memory()[0] < 100_000
    finally:
        tracemalloc.stop()


# Parsing -----------------------------------------------------------------------------------------------------------


@given(st.lists(st.none() | st.text(max_size=20), max_size=10))
def test_data_row_values_are_parsed(values: list[str | None]) -> None:
    payload = struct.pack("!H", len(values))
    for value in values:
        data = None if value is None else value.encode()
        payload += struct.pack("!i", -1) if data is None else struct.pack("!i", len(data)) + data
    assert messages.parse_data_row(payload) == tuple(values)
    for broken in (payload[:-1], payload + b"\0"):
        with pytest.raises(ProtocolError, match="malformed DataRow"):
            messages.parse_data_row(broken)


@pytest.mark.parametrize("length", [-2, -0x80000000, 5, 0x7FFFFFFF])
def test_data_row_with_an_invalid_length_is_refused(length: int) -> None:
    """The length of a value is -1 or lies within the message."""
    with pytest.raises(ProtocolError, match="malformed DataRow"):
        messages.parse_data_row(struct.pack("!Hi", 1, length) + b"abcd")


def test_data_row_can_have_65535_columns() -> None:
    assert len(messages.parse_data_row(struct.pack("!H", 65535) + struct.pack("!i", -1) * 65535)) == 65535


def test_error_fields_are_parsed() -> None:
    """Undecodable bytes are replaced."""
    payload = b"SFATAL\0C28P01\0Mbad \xff\0D\0\0"
    assert messages.parse_fields(payload) == {"S": "FATAL", "C": "28P01", "M": "bad \ufffd", "D": ""}
    assert messages.parse_fields(b"\0") == {}


def test_parameter_status_has_a_name_and_a_value() -> None:
    assert messages.parse_parameter_status(b"TimeZone\0\0") == ("TimeZone", "")
    for payload in (b"", b"\0", b"name\0", b"name\0value", b"a\0b\0c\0"):
        with pytest.raises(ProtocolError, match=r"malformed ParameterStatus|unterminated string"):
            messages.parse_parameter_status(payload)


def test_backend_key_data_has_a_process_id_and_a_key() -> None:
    assert messages.parse_backend_key_data(b"\0\0\0\x07" + b"key!") == (7, b"key!")
    for length in (4, 32, 256):
        payload = b"\xff\xff\xff\xff" + b"k" * length
        assert messages.parse_backend_key_data(payload, PROTOCOL_3_2) == (0xFFFFFFFF, b"k" * length)


@pytest.mark.parametrize(
    ("version", "length", "text"),
    [
        (messages.PROTOCOL_3_0, 3, "cancel key with length 3 not allowed in protocol version 3.0 (must be 4 bytes)"),
        (messages.PROTOCOL_3_0, 32, "cancel key with length 32 not allowed in protocol version 3.0 (must be 4 bytes)"),
        (PROTOCOL_3_2, 0, "cancel key with length 0 is too short (minimum 4 bytes)"),
        (PROTOCOL_3_2, 257, "cancel key with length 257 is too long (maximum 256 bytes)"),
    ],
)
def test_cancel_key_of_another_length_is_refused(version: int, length: int, text: str) -> None:
    """The texts are those of libpq 18."""
    with pytest.raises(ProtocolError, match=re.escape(f"received invalid BackendKeyData message: {text}")):
        messages.parse_backend_key_data(bytes(4 + length), version)


def test_backend_key_data_without_a_process_id_is_refused() -> None:
    with pytest.raises(ProtocolError, match="malformed BackendKeyData"):
        messages.parse_backend_key_data(b"\0\0\0")


@given(st.dictionaries(st.sampled_from("SVCMDHP"), st.text(max_size=20)))
def test_any_error_fields_can_be_shown(fields: dict[str, str]) -> None:
    error = ServerError(fields)
    assert str(error)
    assert error.position is None or error.position >= 0
