"""Checks of servers that answer wrongly: garbage, alerts, changed and reordered records."""

from __future__ import annotations

import random
import ssl
from typing import TYPE_CHECKING

from babar_tls.errors import CertificateError, Error, IoError, TlsError
from babar_tls.testing.backend_checks._check import Trial, check, raised
from babar_tls.testing.backend_checks._pair import NAME
from babar_tls.testing.backend_checks._tls13 import ALERT, DATA, Tls13Server
from babar_tls.testing.certificates import CertificateAuthority

if TYPE_CHECKING:
    from babar_tls.testing.backend_checks._pair import Pair
    from babar_tls.tls.connection import TlsConnection

_GARBAGE = {
    "an empty handshake record": b"\x16\3\3\0\0" * 3,
    "zeros": bytes(600),
    "a record without a handshake": b"\x17\3\3\0\x10" + bytes(16),
    "an impossible message": b"\x16\3\3\0\4\2\xff\xff\xff" + bytes(50),
    "ChangeCipherSpec first": b"\x14\3\3\0\1\1" * 40,
    "a record that is too long": b"\x16\3\3\x50\0" + bytes(0x5000),
    "SSL 2": b"\x80\x2e\1\0\2\0\x15\0\0\0\x10" + bytes(40),
    "noise": random.Random(1).randbytes(3000),  # noqa: S311 - the same each time
}
_ALERTS = {
    40: "handshake_failure", 47: "illegal_parameter", 70: "protocol_version", 71: "insufficient_security",
    80: "internal_error", 112: "unrecognized_name", 120: "no_application_protocol", 0: "close_notify",
}  # fmt: skip


def _fails_with(trial: Trial, answer: bytes) -> None:
    stream = trial.connection()
    stream.do_handshake()
    stream.data_to_send()

    def feed() -> None:
        stream.receive_data(answer)
        stream.do_handshake()
        stream.receive_eof()
        stream.do_handshake()

    raised(TlsError, "handshake", feed)


@check()
def garbage_for_a_server_hello(trial: Trial) -> None:
    """Garbage in place of the server's first flight is a TlsError."""
    for what, data in _GARBAGE.items():
        with trial.case(what):
            _fails_with(trial, data)


@check()
def alert_for_a_server_hello(trial: Trial) -> None:
    """An alert in place of the server's first flight is a TlsError."""
    for number, name in _ALERTS.items():
        with trial.case(name):
            _fails_with(trial, b"\x15\3\3\0\2" + bytes([2 if number else 1, number]))


@check()
def garbage_within_the_handshake(trial: Trial) -> None:
    """Garbage after a ServerHello is a TlsError."""
    for version in trial.versions:
        for what, data in _GARBAGE.items():
            if what in ("an empty handshake record", "ChangeCipherSpec first"):
                continue
            with trial.case(f"{version}, {what}"):
                pair = trial.pair(version=version)
                pair.client.do_handshake()
                pair._send()
                pair._serve()
                flight = pair._from_server.read()
                pair.client.receive_data(flight[: 5 + int.from_bytes(flight[3:5], "big")] + data)
                pair.client.receive_eof()
                raised(TlsError, "do_handshake()", pair.client.do_handshake)


@check()
def changed_handshake(trial: Trial) -> None:
    """A bit changed in the server's flights ends the handshake, or was in what TLS does not protect."""
    chance = random.Random(7)  # noqa: S311 - the same each time
    for version in trial.versions:
        for flight in (0, 1):
            for _ in range(25):
                place, bit = chance.random(), chance.randrange(8)
                with trial.case(f"{version}, flight {flight + 1}, bit {bit} at {place:.0%}"):
                    _survives(trial, version, flight, place, bit)


def _survives(trial: Trial, version: str, flight: int, place: float, bit: int) -> None:
    flights = 0

    def tamper(data: bytes) -> bytes:
        nonlocal flights
        flights += bool(data)
        if not data or flights != flight + 1:
            return data
        changed = bytearray(data)
        changed[int(place * len(data))] ^= 1 << bit
        return bytes(changed)

    pair = trial.pair(version=version, tamper=tamper)
    try:
        pair.handshake()
    except Error:
        return
    try:
        pair.client.write(b"ping")
        heard = pair.hear_or_nothing()
        assert heard in (b"ping", b""), f"the server got {heard!r}"
        if pair._server_done:
            pair.say(b"pong")
        read = pair.read()
        assert read in (b"pong", b""), f"read {read!r}"
    except (Error, ssl.SSLError):
        pass


@check()
def changed_records(trial: Trial) -> None:
    """A changed record ends the stream: what came before it is read, and nothing else."""
    for version in trial.versions:
        for place in (0, 1, 3, 5, 9, 20, -1):
            with trial.case(f"{version}, byte {place}"):
                pair = trial.pair(version=version).handshake()
                pair.hear()
                pair.say(b"before")
                pair.server.write(b"the record")
                changed = bytearray(pair._from_server.read())
                changed[place] ^= 0x41
                pair.server.write(b"after")
                pair.client.receive_data(bytes(changed) + pair._from_server.read())
                pair.client.receive_eof()
                _reads_then_fails(pair.client, b"before")


def _reads_then_fails(stream: TlsConnection, wanted: bytes) -> None:
    buffer = memoryview(bytearray(100))
    read = bytes(buffer[: stream.read_into(buffer) or 0])
    assert read == wanted, f"read {read!r} for {wanted!r}"
    raised(IoError, "read_into() of what is wrong", stream.read_into, buffer)  # TlsError, or Closed after EOF


@check()
def reordered_records(trial: Trial) -> None:
    """Records in another order, left out or repeated are an error."""
    for version in trial.versions:
        for order in ((1, 0, 2), (0, 2), (0, 0, 1), (0, 1, 1)):
            with trial.case(f"{version}, records {order}"):
                pair = trial.pair(version=version).handshake()
                pair.hear()
                records = []
                for word in (b"one", b"two", b"three"):
                    pair.server.write(word)
                    records.append(pair._from_server.read())
                for index in order:
                    pair.client.receive_data(records[index])
                read = bytearray()
                buffer = memoryview(bytearray(100))

                def drain(pair: Pair = pair, read: bytearray = read, buffer: memoryview = buffer) -> None:
                    while count := pair.client.read_into(buffer):
                        read.extend(buffer[:count])

                raised(Error, "reading", drain)
                assert b"onetwothree".startswith(read), f"read {bytes(read)!r}"


@check()
def garbage_after_the_handshake(trial: Trial) -> None:
    """Plain text in place of a record after the handshake is an error, and is not read as data."""
    for version in trial.versions:
        with trial.case(version):
            pair = trial.pair(version=version).handshake()
            pair.carry()
            pair.say(b"good")
            pair.client.receive_data(b"E\0\0\0\x20SFATAL\0C08P01\0Mplain text at last\0\0" * 5)
            _reads_then_fails(pair.client, b"good")


@check()
def alert_after_the_handshake(trial: Trial) -> None:
    """A fatal alert after the handshake is a TlsError or Closed when reading, behind the data that came before it."""
    trial.needs_version("TLSv1.3")
    for number in (80, 10, 20):
        with trial.case(f"alert {number}"):
            stream = trial.connection()
            server = Tls13Server(trial.world.certificate).connect(stream)
            stream.receive_data(server.seal(DATA, b"good") + server.seal(ALERT, bytes([2, number])))
            _reads_then_fails(stream, b"good")


@check()
def alert_reaches_the_server(trial: Trial) -> None:
    """After the server's certificate was refused, data_to_send() returns the alert, and the server gets no data."""
    untrusted = CertificateAuthority().issue(NAME)
    for version in trial.versions:
        with trial.case(version):
            pair = trial.pair(version=version, certificate=untrusted)
            raised(CertificateError, "handshake with an untrusted certificate", pair.handshake)
            assert pair.hear_or_nothing() == b"", "the server received data"
            pair._serve()
            error = str(pair.server_error)
            assert "ALERT" in error.upper(), f"the server received no alert: {error}"
