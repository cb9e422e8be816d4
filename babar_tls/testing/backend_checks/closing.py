"""Checks of how connections end: goodbyes, and ends without one."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from babar_tls.errors import Closed, Error, TlsError
from babar_tls.testing.backend_checks._check import Trial, check, needs, raised, require
from babar_tls.testing.backend_checks._tls13 import ALERT, DATA, Tls13Server

if TYPE_CHECKING:
    from babar_tls.testing.backend_checks._pair import Pair


def _server_says_goodbye(pair: Pair) -> None:
    try:
        pair.server.unwrap()
    except ssl.SSLError:
        pass  # it waits for ours
    pair.carry()


def _read_once(pair: Pair) -> bytes:
    buffer = memoryview(bytearray(100))
    return bytes(buffer[: pair.client.read_into(buffer) or 0])


@check()
def close_notify(trial: Trial) -> None:
    """A server that says goodbye has said all: what came before is read, then 0 with peer_closed, and no error."""
    for version in trial.versions:
        for eof in (True, False):
            with trial.case(f"{version}, {'then the wire ends' if eof else 'and the wire stays'}"):
                pair = trial.pair(version=version).handshake()
                pair.hear()
                pair.server.write(b"last words")
                _server_says_goodbye(pair)
                if eof:
                    pair.client.receive_eof()
                read = _read_once(pair)
                require(read == b"last words", f"read {read!r} for b'last words'")
                for _ in range(3):
                    read = _read_once(pair)
                    require(read == b"", f"read {read!r} after the goodbye")
                    require(pair.client.peer_closed is True, f"peer_closed is {pair.client.peer_closed!r}")


@check()
def truncation(trial: Trial) -> None:
    """A stream that ends without a goodbye, between records or within one, raises Closed: data may be missing."""
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
                require(read == b"half of", f"read {read!r} for b'half of'")
                for _ in range(2):
                    raised(Closed, "read_into() at the end", _read_once, pair)
                    require(not pair.client.peer_closed, "peer_closed is set, and nobody has said goodbye")


@check()
def end_right_after_the_handshake(trial: Trial) -> None:
    """A server that hangs up when the handshake is finished, before any data, is Closed too."""
    for version in trial.versions:
        with trial.case(version):
            pair = trial.pair(version=version).handshake()
            pair.carry()
            pair.client.receive_eof()
            raised(Closed, "read_into() at the end", _read_once, pair)


@check()
def end_within_the_handshake(trial: Trial) -> None:
    """A server that hangs up at any point of the handshake is a TlsError each time that the stream is asked."""
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
                for _ in range(2):
                    raised(TlsError, "do_handshake() at the end", pair.client.do_handshake)
                raised(Error, "write() after it", pair.client.write, b"secret")


@check()
def our_close_notify(trial: Trial) -> None:
    """Our goodbye reaches the server behind what was written, a second one is harmless, and no write follows it."""
    for version in trial.versions:
        with trial.case(version):
            pair = trial.pair(version=version).handshake()
            pair.client.write(b"last words")
            pair.client.close_notify()
            pair.client.close_notify()
            pair.carry()
            require(pair.server.read(100) == b"last words", "what was written before close_notify() does not arrive")
            try:
                rest = pair.server.read(100)
            except ssl.SSLWantReadError:
                rest = None
            require(rest == b"", "the server has got no close_notify")
            raised(Error, "write() after close_notify()", pair.client.write, b"afterthought")


@check()
def close_notify_never_raises(trial: Trial) -> None:
    """close_notify() raises nothing on a new, a half-made, a failed, an ended or a closed stream."""
    trial.wrap().close_notify()
    begun = trial.wrap()
    begun.do_handshake()
    begun.close_notify()
    failed = trial.wrap()
    failed.do_handshake()
    failed.receive_data(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    raised(TlsError, "handshake with a server that speaks HTTP", failed.do_handshake)
    failed.close_notify()
    ended = trial.pair().handshake()
    ended.client.receive_eof()
    ended.client.close_notify()
    closed = trial.pair().handshake()
    _server_says_goodbye(closed)
    closed.client.close_notify()


@check()
def write_after_their_goodbye(trial: Trial) -> None:
    """After the server's goodbye we may still write (RFC 8446 §6.1): it arrives, or is refused, and is never lost."""
    for version in trial.versions:
        with trial.case(version):
            pair = trial.pair(version=version).handshake()
            pair.hear()
            _server_says_goodbye(pair)
            _read_once(pair)
            try:
                pair.client.write(b"still here")
            except Error:
                needs(version == "TLSv1.2", "the engine refuses to write after the server's goodbye")
                continue  # RFC 5246 §7.2.1: both sides close at once
            pair.carry()
            require(pair.server.read(100) == b"still here", "what was written does not arrive")


@check()
def read_after_our_goodbye(trial: Trial) -> None:
    """What the server sends after our goodbye is read, or refused with an error: it is never taken for the end."""
    needs("TLSv1.3" in trial.versions, "TLS 1.2 has no half-closed connections")
    stream = trial.wrap()
    server = Tls13Server(trial.world.certificate).connect(stream)
    stream.close_notify()
    stream.data_to_send()
    stream.receive_data(server.seal(DATA, b"so long"))
    buffer = memoryview(bytearray(100))
    try:
        count = stream.read_into(buffer)
    except Error:
        return
    require(bytes(buffer[:count]) == b"so long", f"read {bytes(buffer[:count])!r}, peer_closed={stream.peer_closed}")
    stream.receive_data(server.seal(ALERT, b"\1\0"))
    require(stream.read_into(buffer) == 0 and stream.peer_closed, "the server's goodbye is not noticed")


@check()
def data_behind_the_goodbye(trial: Trial) -> None:
    """What comes behind the server's close_notify is not data of this connection (RFC 8446 §6.1)."""
    needs("TLSv1.3" in trial.versions, "needs TLS 1.3")
    stream = trial.wrap()
    server = Tls13Server(trial.world.certificate).connect(stream)
    stream.receive_data(server.seal(DATA, b"all") + server.seal(ALERT, b"\1\0") + server.seal(DATA, b"more"))
    buffer = memoryview(bytearray(100))
    read = b""
    try:
        for _ in range(4):
            read += bytes(buffer[: stream.read_into(buffer) or 0])
    except Error:
        pass
    require(read == b"all", f"read {read!r} for b'all'")
