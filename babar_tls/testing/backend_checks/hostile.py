"""Checks of servers that answer wrongly: garbage, alerts, changed and reordered records."""

from __future__ import annotations

import random
import ssl
from typing import TYPE_CHECKING

from babar_tls.errors import Error, IoError, TlsError
from babar_tls.testing.backend_checks._check import Trial, check, raised, refused, same
from babar_tls.testing.backend_checks._pair import NAME, read_once
from babar_tls.testing.backend_checks._tls13 import ALERT, DATA, connect_tls13
from babar_tls.testing.certificates import CertificateAuthority

if TYPE_CHECKING:
    from babar_tls.tls.connection import TlsConnection

_GARBAGE = {
    "zeros": bytes(600),
    "a record without a handshake": b"\x17\3\3\0\x10" + bytes(16),
    "an impossible message": b"\x16\3\3\0\4\2\xff\xff\xff" + bytes(50),
    "a record that is too long": b"\x16\3\3\x50\0" + bytes(0x5000),
    "SSL 2": b"\x80\x2e\1\0\2\0\x15\0\0\0\x10" + bytes(40),
    "noise": random.Random(1).randbytes(3000),  # noqa: S311 - the same each time
}
#: Garbage only at the start of the stream; within a handshake it can be correct.
_GARBAGE_AT_THE_START = {
    "an empty handshake record": b"\x16\3\3\0\0" * 3,
    "ChangeCipherSpec first": b"\x14\3\3\0\1\1" * 40,
}
_ALERTS = {
    "handshake_failure": 40, "illegal_parameter": 47, "protocol_version": 70, "insufficient_security": 71,
    "internal_error": 80, "unrecognized_name": 112, "no_application_protocol": 120, "close_notify": 0,
}  # fmt: skip


def _fails_with(trial: Trial, answer: bytes) -> None:
    connection = trial.connection()
    connection.do_handshake()
    connection.data_to_send()

    def feed() -> None:
        connection.receive_data(answer)
        connection.do_handshake()
        connection.receive_eof()
        connection.do_handshake()

    raised(TlsError, "handshake", feed)


@check(cases=_GARBAGE | _GARBAGE_AT_THE_START)
def garbage_for_a_server_hello(trial: Trial, data: bytes) -> None:
    """Garbage in place of the server's first flight is a TlsError."""
    _fails_with(trial, data)


@check(cases=_ALERTS)
def alert_for_a_server_hello(trial: Trial, number: int) -> None:
    """An alert in place of the server's first flight is a TlsError."""
    _fails_with(trial, b"\x15\3\3\0\2" + bytes([2 if number else 1, number]))


@check(per_version=True, cases=_GARBAGE)
def garbage_within_the_handshake(trial: Trial, version: str, data: bytes) -> None:
    """Garbage after a ServerHello is a TlsError."""
    pair = trial.pair(version=version)
    flight = pair.first_flight()
    pair.client.receive_data(flight[: 5 + int.from_bytes(flight[3:5], "big")] + data)
    pair.client.receive_eof()
    raised(TlsError, "do_handshake()", pair.client.do_handshake)


@check(per_version=True)
def changed_handshake(trial: Trial, version: str) -> None:
    """A changed bit in the server's flights ends the handshake, or is in a part that TLS does not protect."""
    chance = random.Random(7)  # noqa: S311 - the same each time
    for flight in (1, 2):
        for _ in range(25):
            place, bit = chance.random(), chance.randrange(8)
            with trial.case(f"flight {flight}, bit {bit} at {place:.0%}"):
                _connect_with_changed_bit(trial, version, flight, place, bit)


def _connect_with_changed_bit(trial: Trial, version: str, flight: int, place: float, bit: int) -> None:
    flights = 0

    def tamper(data: bytes) -> bytes:
        nonlocal flights
        flights += bool(data)
        if not data or flights != flight:
            return data
        changed = bytearray(data)
        changed[int(place * len(data))] ^= 1 << bit
        return bytes(changed)

    pair = trial.pair(version=version, tamper=tamper)
    try:
        pair.handshake()
        pair.client.write(b"ping")
        received = pair.server_read()
        assert received in (b"ping", b""), f"the server received {received!r}"
        if pair._server_done:
            pair.server_write(b"pong")
        read = pair.read()
        assert read in (b"pong", b""), f"the client read {read!r}"
    except (Error, ssl.SSLError):
        pass


@check(per_version=True, cases={f"byte {place}": place for place in (0, 1, 3, 5, 9, 20, -1)})
def changed_records(trial: Trial, version: str, place: int) -> None:
    """A changed record ends the stream: only the data that came before it are read."""
    pair = trial.pair(version=version).handshake()
    pair.server_write(b"before")
    changed = bytearray(pair.server_record(b"the record"))
    changed[place] ^= 0x41
    pair.client.receive_data(bytes(changed) + pair.server_record(b"after"))
    pair.client.receive_eof()
    _reads_then_fails(pair.client, b"before")


def _reads_then_fails(connection: TlsConnection, expected: bytes) -> None:
    same(read_once(connection), expected, "the client read")
    raised(IoError, "read_into() after the fault", read_once, connection)  # TlsError, or Closed after EOF


@check(per_version=True, cases={f"records {order}": order for order in ((1, 0, 2), (0, 2), (0, 0, 1), (0, 1, 1))})
def reordered_records(trial: Trial, version: str, order: tuple[int, ...]) -> None:
    """Records that are reordered, left out or repeated are an error."""
    pair = trial.pair(version=version).handshake()
    records = [pair.server_record(word) for word in (b"one", b"two", b"three")]
    for index in order:
        pair.client.receive_data(records[index])
    read = b""
    try:
        while data := read_once(pair.client):
            read += data
    except Error:
        assert b"onetwothree".startswith(read), f"the client read {read!r}"
    else:
        raise AssertionError("reading: Error was not raised")


@check(per_version=True)
def garbage_after_the_handshake(trial: Trial, version: str) -> None:
    """Plain text in place of a record after the handshake is an error, and is not read as data."""
    pair = trial.pair(version=version).handshake()
    pair.server_write(b"good")
    pair.client.receive_data(b"E\0\0\0\x20SFATAL\0C08P01\0Mplain text at last\0\0" * 5)
    _reads_then_fails(pair.client, b"good")


@check(cases={f"alert {number}": number for number in (80, 10, 20)})
def alert_after_the_handshake(trial: Trial, number: int) -> None:
    """A fatal alert after the handshake is a TlsError or Closed when reading, behind the data that came before it."""
    connection, server = connect_tls13(trial)
    connection.receive_data(server.seal(DATA, b"good") + server.seal(ALERT, bytes([2, number])))
    _reads_then_fails(connection, b"good")


@check(per_version=True)
def alert_reaches_the_server(trial: Trial, version: str) -> None:
    """After the server's certificate was refused, data_to_send() returns the alert, and the server gets no data."""
    pair = trial.pair(version=version, certificate=CertificateAuthority().issue(NAME))
    refused(pair)
    error = str(pair.server_error)
    assert "ALERT" in error.upper(), f"the server received no alert: {error}"
