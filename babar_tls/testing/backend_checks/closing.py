"""Checks of how connections end: close_notify of either side, truncation, close()."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from babar_tls.errors import Closed, Error, TlsError
from babar_tls.testing.backend_checks._check import NotApplicable, Trial, check, raised
from babar_tls.testing.backend_checks._tls13 import ALERT, DATA, Tls13Server

if TYPE_CHECKING:
    from babar_tls.testing.backend_checks._pair import Pair

_CLOSE_NOTIFY = b"\1\0"


def _server_sends_close_notify(pair: Pair) -> None:
    try:
        pair.server.unwrap()
    except ssl.SSLError:
        pass  # it waits for ours
    pair.carry()


def _read_once(pair: Pair) -> bytes | None:
    buffer = memoryview(bytearray(100))
    count = pair.client.read_into(buffer)
    return None if count is None else bytes(buffer[:count])


@check()
def close_notify(trial: Trial) -> None:
    """After the server's close_notify read_into() returns 0, behind the data that came before it."""
    for version in trial.versions:
        for eof in (True, False):
            with trial.case(f"{version}, {'then EOF' if eof else 'no EOF'}"):
                pair = trial.pair(version=version).handshake()
                pair.hear()
                pair.server.write(b"last words")
                _server_sends_close_notify(pair)
                if eof:
                    pair.client.receive_eof()
                read = _read_once(pair)
                assert read == b"last words", f"read {read!r} for b'last words'"
                read = _read_once(pair)
                assert read == b"", f"read {read!r} at close_notify, not 0 bytes"


@check()
def truncation(trial: Trial) -> None:
    """The end of a stream without close_notify, between records or within one, is not taken for close_notify."""
    for version in trial.versions:
        for cut in (0, 3, 10):
            with trial.case(f"{version}, {cut} bytes of a record left"):
                pair = trial.pair(version=version).handshake()
                pair.carry()
                pair.say(b"half of")
                pair.server.write(b"the truth")
                pair.client.receive_data(pair._from_server.read()[:cut])
                pair.client.receive_eof()
                read = _read_once(pair)
                assert read == b"half of", f"read {read!r} for b'half of'"
                raised(Closed, "read_into() at the end", _read_once, pair)


@check()
def end_within_the_handshake(trial: Trial) -> None:
    """The handshake is not complete when any part of the server's flight is missing."""
    for version in trial.versions:
        # Flights differ in length, by a byte or two of a signature: the last byte is counted from behind.
        for cut in (0, 1, 4, 5, 6, *range(97, 600, 97), -1):
            with trial.case(f"{version}, after {cut} bytes" if cut >= 0 else f"{version}, before the last byte"):
                pair = trial.pair(version=version)
                pair.client.do_handshake()
                pair._send()
                pair._serve()
                pair.client.receive_data(pair._from_server.read()[:cut])
                pair.client.receive_eof()
                raised(TlsError, "do_handshake() at the end", pair.client.do_handshake)


@check()
def our_close_notify(trial: Trial) -> None:
    """The client's close_notify reaches the server, behind what was written before it."""
    for version in trial.versions:
        with trial.case(version):
            pair = trial.pair(version=version).handshake()
            pair.client.write(b"last words")
            pair.client.close_notify()
            pair.carry()
            assert pair.server.read(100) == b"last words", "what was written before close_notify() did not arrive"
            try:
                rest = pair.server.read(100)
            except ssl.SSLWantReadError:
                rest = None
            assert rest == b"", "the server did not receive close_notify"


@check()
def close_notify_of_both(trial: Trial) -> None:
    """close_notify() raises nothing after the server's close_notify, after EOF, or with data unread."""
    for version in trial.versions:
        for what in ("close_notify", "EOF", "unread data"):
            with trial.case(f"{version}, {what}"):
                pair = trial.pair(version=version).handshake()
                pair.hear()
                if what == "close_notify":
                    _server_sends_close_notify(pair)
                    _read_once(pair)
                elif what == "EOF":
                    pair.client.receive_eof()
                else:
                    pair.say(b"unread")
                pair.client.close_notify()
                pair.client.data_to_send()


@check()
def close(trial: Trial) -> None:
    """A stream can be closed at any stage of the connection, without an exception."""
    for stage in ("new", "begun", "failed", "finished", "closed by the server"):
        with trial.case(stage):
            pair = trial.pair()
            if stage in ("begun", "failed"):
                pair.client.do_handshake()
            if stage == "failed":
                pair.client.receive_data(b"\x15\3\3\0\2\2\x28")
                raised(TlsError, "handshake with a server that sends an alert", pair.client.do_handshake)
            if stage in ("finished", "closed by the server"):
                pair.handshake()
            if stage == "closed by the server":
                _server_sends_close_notify(pair)
                pair.read()
            pair.client.close()


@check()
def write_after_their_close_notify(trial: Trial) -> None:
    """Data written after the server's close_notify (RFC 8446 §6.1) arrive, or are refused, and are not lost."""
    for version in trial.versions:
        with trial.case(version):
            pair = trial.pair(version=version).handshake()
            pair.hear()
            _server_sends_close_notify(pair)
            _read_once(pair)
            try:
                pair.client.write(b"still here")
            except Error:
                if version == "TLSv1.2":
                    continue  # RFC 5246 §7.2.1: both sides close at once
                raise NotApplicable("the backend refuses to write after the server's close_notify") from None
            pair.carry()
            assert pair.server.read(100) == b"still here", "what was written did not arrive"


@check()
def read_after_our_close_notify(trial: Trial) -> None:
    """Data that follow the client's close_notify are read, or refused with an error, and not taken for the end."""
    trial.needs_version("TLSv1.3")
    connection = trial.connection()
    server = Tls13Server(trial.world.certificate).connect(connection)
    connection.close_notify()
    connection.data_to_send()
    connection.receive_data(server.seal(DATA, b"so long"))
    buffer = memoryview(bytearray(100))
    try:
        count = connection.read_into(buffer)
    except Error:
        return
    assert count == 7, f"read_into() returned {count!r} for 7 bytes"
    assert bytes(buffer[:7]) == b"so long", f"read {bytes(buffer[:7])!r}"
    connection.receive_data(server.seal(ALERT, _CLOSE_NOTIFY))
    count = connection.read_into(buffer)
    assert count == 0, f"read_into() returned {count!r} at the server's close_notify"


@check()
def data_behind_close_notify(trial: Trial) -> None:
    """What follows the server's close_notify is not data of this connection (RFC 8446 §6.1)."""
    trial.needs_version("TLSv1.3")
    connection = trial.connection()
    server = Tls13Server(trial.world.certificate).connect(connection)
    connection.receive_data(server.seal(DATA, b"all") + server.seal(ALERT, _CLOSE_NOTIFY) + server.seal(DATA, b"more"))
    buffer = memoryview(bytearray(100))
    read = b""
    try:
        for _ in range(4):
            read += bytes(buffer[: connection.read_into(buffer) or 0])
    except Error:
        pass
    assert read == b"all", f"read {read!r} for b'all'"
