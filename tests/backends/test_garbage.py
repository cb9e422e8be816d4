"""For arbitrary bytes a backend raises one of this library's errors or returns the original data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from babar_tls import Closed, Error, TlsError
from babar_tls.backends import TlsParameters, get_backend
from babar_tls.tls.connection import TlsConnection

from .pairs import TLS_VERSIONS, Pair, only

if TYPE_CHECKING:
    from babar_tls.testing import CertificateAuthority, ServerCertificate

NAME = "db.example.com"
# The fixtures are immutable, so that examples may share them.
fuzz = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture(scope="module")
def certificate(authority: CertificateAuthority) -> ServerCertificate:
    return authority.issue(NAME)


def read_all(stream: TlsConnection) -> bytes:
    received = bytearray()
    buffer = memoryview(bytearray(1 << 15))
    while count := stream.read_into(buffer):
        received += buffer[:count]
    return bytes(received)


def assert_dead(stream: TlsConnection, *, shaken: bool) -> None:
    """Check that the connection returns no data and raises only this library's errors."""
    for _ in range(2):
        if not shaken:
            with pytest.raises(Error):
                stream.do_handshake()
        with pytest.raises(Error):
            stream.read_into(memoryview(bytearray(100)))
        stream.data_to_send()
        stream.close_notify()


@fuzz
@given(chunks=st.lists(st.binary(max_size=300), max_size=5), eof=st.booleans())
@example(chunks=[b"\x16\x03\x03\x00\x00"], eof=False)
@example(chunks=[b"\x00\x00\x00\x00\x01"], eof=False)
@example(chunks=[b"\x15\x03\x03\x00\x02\x02\x28"], eof=False)
@example(chunks=[b"\x17\x03\x03\x40\x01"], eof=True)
@example(chunks=[b"\x16\x03\x03\x00\x04\x02\xff\xff\xff"], eof=False)
@example(chunks=[b"\x14\x03\x03\x00\x01\x01"] * 5, eof=True)
def test_garbage_in_place_of_a_server_hello_is_a_tls_error(
    backend: str, parameters: TlsParameters, chunks: list[bytes], eof: bool
) -> None:
    """The handshake cannot be continued."""
    stream = TlsConnection(get_backend(backend), parameters, NAME)
    assert stream.do_handshake() is False
    try:
        for chunk in chunks:
            stream.receive_data(chunk)
            assert stream.do_handshake() is False
        if eof:
            stream.receive_eof()
            assert stream.do_handshake() is False
    except TlsError:
        assert_dead(stream, shaken=False)


@fuzz
@given(
    version=st.sampled_from(list(TLS_VERSIONS)),
    flight=st.integers(0, 2),
    position=st.floats(0, 1, exclude_max=True),
    bit=st.integers(0, 7),
)
def test_flipped_bit_in_the_handshake_ends_it(
    *,
    backend: str,
    parameters: TlsParameters,
    certificate: ServerCertificate,
    version: str,
    flight: int,
    position: float,
    bit: int,
) -> None:
    """On either side. Wrong data is never returned."""
    flights = 0

    def tamper(data: bytes) -> bytes:
        nonlocal flights
        if not data:
            return data
        flights += 1
        if flights != flight + 1:
            return data
        changed = bytearray(data)
        changed[int(position * len(data))] ^= 1 << bit
        return bytes(changed)

    pair = Pair(backend, parameters, NAME, certificate, tamper=tamper, **only(version))
    try:
        pair.handshake()
    except Error:
        assert_dead(pair.client, shaken=False)
        return
    # TLS does not protect the bit (a record's version), or it was sent after the handshake (a ticket).
    try:
        pair.client.write(b"ping")
        assert pair.server_read() in (b"ping", b"")
        pair.server_write(b"pong")
        assert read_all(pair.client) in (b"pong", b"")
    except (Error, OSError):
        pass


@fuzz
@given(
    version=st.sampled_from(list(TLS_VERSIONS)),
    position=st.floats(0, 1, exclude_max=True),
    mask=st.integers(1, 255),
)
def test_changed_record_ends_the_stream(
    *,
    backend: str,
    parameters: TlsParameters,
    certificate: ServerCertificate,
    version: str,
    position: float,
    mask: int,
) -> None:
    """The data before it is returned, and no data of it or after it.

    In TLS 1.3 type and version in a record's header are constants (RFC 8446 §5.2). rustls ignores changes there, and
    the data is then correct.
    """
    pair = Pair(backend, parameters, NAME, certificate, **only(version)).handshake()
    pair.server_read()
    pair.carry()
    pair.server_write(b"before")
    pair.server.write(b"the record")
    changed = bytearray(pair._from_server.read())
    where = int(position * len(changed))
    changed[where] ^= mask
    pair.client.receive_data(changed)
    pair.server.write(b"after")
    pair.client.receive_data(pair._from_server.read())
    pair.client.receive_eof()
    whole = [b"beforethe recordafter"] if backend == "rustls" and where < 3 else []
    assert read_to_the_error(pair.client) in (b"before", *whole)
    assert_dead(pair.client, shaken=True)


def read_to_the_error(stream: TlsConnection) -> bytes:
    received = b""
    try:
        while chunk := read_some(stream):
            received += chunk
    except (TlsError, Closed):
        return received
    raise AssertionError("there was no error")


def read_some(stream: TlsConnection) -> bytes:
    buffer = memoryview(bytearray(100))
    return bytes(buffer[: stream.read_into(buffer) or 0])


@fuzz
@given(
    version=st.sampled_from(list(TLS_VERSIONS)),
    order=st.permutations(range(3)),
    repeat=st.booleans(),
)
def test_reordered_missing_and_repeated_records_are_detected(
    *,
    backend: str,
    parameters: TlsParameters,
    certificate: ServerCertificate,
    version: str,
    order: list[int],
    repeat: bool,
) -> None:
    """The data that is returned is the start of the original data."""
    pair = Pair(backend, parameters, NAME, certificate, **only(version)).handshake()
    pair.server_read()
    pair.carry()
    records = []
    for word in (b"one", b"two", b"three"):
        pair.server.write(word)
        records.append(pair._from_server.read())
    for index in [order[0], *order] if repeat else order:
        pair.client.receive_data(records[index])
    received = b""
    try:
        while count := read_some(pair.client):
            received += count
        assert not repeat
        assert list(order) == [0, 1, 2]
    except Error:
        assert_dead(pair.client, shaken=True)
    assert b"onetwothree".startswith(received)
