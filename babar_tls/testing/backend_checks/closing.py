"""Checks of how connections end: close_notify of either side, truncation, close()."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from babar_tls.errors import Closed, Error, TlsError
from babar_tls.testing.backend_checks._check import NotApplicable, Trial, check, raised, same
from babar_tls.testing.backend_checks._pair import read_once
from babar_tls.testing.backend_checks._tls13 import ALERT, DATA, connect_tls13

if TYPE_CHECKING:
    from collections.abc import Callable

    from babar_tls.testing.backend_checks._pair import Pair

_CLOSE_NOTIFY = b"\1\0"
_CUTS = {f"after {cut} bytes": cut for cut in (0, 1, 4, 5, 6, *range(97, 600, 97))}
# The length of a flight varies, by a byte or two of a signature. So the last byte is counted from the end.
_CUTS["before the last byte"] = -1


def _send_close_notify(pair: Pair) -> None:
    try:
        pair.server.unwrap()
    except ssl.SSLError:
        pass  # it waits for the client's
    pair.carry()


def _receive_close_notify(pair: Pair) -> None:
    _send_close_notify(pair)
    read_once(pair.client)


_BEFORE_CLOSE_NOTIFY: dict[str, Callable[[Pair], object]] = {
    "close_notify": _receive_close_notify,
    "EOF": lambda pair: pair.client.receive_eof(),
    "unread data": lambda pair: pair.server_write(b"unread"),
}


@check(per_version=True, cases={"then EOF": True, "no EOF": False})
def close_notify(trial: Trial, version: str, has_eof: bool) -> None:
    """After the server's close_notify read_into() returns 0, behind the data that came before it."""
    pair = trial.pair(version=version).handshake()
    pair.server.write(b"last words")
    _send_close_notify(pair)
    if has_eof:
        pair.client.receive_eof()
    same(read_once(pair.client), b"last words", "the client read")
    same(read_once(pair.client), b"", "at close_notify the client read")


@check(per_version=True, cases={f"{cut} bytes of a record left": cut for cut in (0, 3, 10)})
def truncation(trial: Trial, version: str, cut: int) -> None:
    """The end of a stream without close_notify, between records or within one, is not taken for close_notify."""
    pair = trial.pair(version=version).handshake()
    pair.server_write(b"half of")
    pair.client.receive_data(pair.server_record(b"the truth")[:cut])
    pair.client.receive_eof()
    same(read_once(pair.client), b"half of", "the client read")
    raised(Closed, "read_into() at the end", read_once, pair.client)


@check(per_version=True, cases=_CUTS)
def end_within_the_handshake(trial: Trial, version: str, cut: int) -> None:
    """The handshake is not complete when any part of the server's flight is missing."""
    pair = trial.pair(version=version)
    pair.client.receive_data(pair.first_flight()[:cut])
    pair.client.receive_eof()
    raised(TlsError, "do_handshake() at the end", pair.client.do_handshake)


@check(per_version=True)
def our_close_notify(trial: Trial, version: str) -> None:
    """The client's close_notify reaches the server, behind what was written before it."""
    pair = trial.pair(version=version).handshake()
    pair.client.write(b"last words")
    pair.client.close_notify()
    pair.carry()
    same(pair.server.read(100), b"last words", "the server received")
    try:
        rest = pair.server.read(100)
    except ssl.SSLWantReadError:
        rest = None
    assert rest == b"", "the server did not receive close_notify"


@check(per_version=True, cases=_BEFORE_CLOSE_NOTIFY)
def close_notify_of_both(trial: Trial, version: str, prepare: Callable[[Pair], object]) -> None:
    """close_notify() raises nothing after the server's close_notify, after EOF, or with data unread."""
    pair = trial.pair(version=version).handshake()
    prepare(pair)
    pair.client.close_notify()
    pair.client.data_to_send()


@check()
def close(trial: Trial) -> None:
    """A stream can be closed at any stage of the connection, without an exception."""
    for stage in ("new", "begun", "failed", "finished"):
        with trial.case(stage):
            trial.pair_at(stage).client.close()
    with trial.case("closed by the server"):
        pair = trial.pair_at("finished")
        _receive_close_notify(pair)
        pair.client.close()


@check(per_version=True)
def write_after_their_close_notify(trial: Trial, version: str) -> None:
    """Data written after the server's close_notify (RFC 8446 §6.1) arrive, or are refused, and are not lost."""
    pair = trial.pair(version=version).handshake()
    _receive_close_notify(pair)
    try:
        pair.client.write(b"still here")
    except Error:  # correct in TLS 1.2, where both sides close at once (RFC 5246 §7.2.1)
        raise NotApplicable("the backend refuses to write after the server's close_notify") from None
    pair.carry()
    same(pair.server.read(100), b"still here", "the server received")


@check()
def read_after_our_close_notify(trial: Trial) -> None:
    """Data that follow the client's close_notify are read, or refused with an error, and not taken for the end."""
    connection, server = connect_tls13(trial)
    connection.close_notify()
    connection.data_to_send()
    connection.receive_data(server.seal(DATA, b"so long"))
    try:
        read = read_once(connection)
    except Error:
        return
    same(read, b"so long", "the client read")
    connection.receive_data(server.seal(ALERT, _CLOSE_NOTIFY))
    same(read_once(connection), b"", "at the server's close_notify the client read")


@check()
def data_behind_close_notify(trial: Trial) -> None:
    """What follows the server's close_notify is not data of this connection (RFC 8446 §6.1)."""
    connection, server = connect_tls13(trial)
    connection.receive_data(server.seal(DATA, b"all") + server.seal(ALERT, _CLOSE_NOTIFY) + server.seal(DATA, b"more"))
    read = b""
    try:
        for _ in range(4):
            read += read_once(connection) or b""
    except Error:
        pass
    same(read, b"all", "the client read")
