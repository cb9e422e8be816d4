"""Checks of keys: whose the server's is, and what comes of new ones after the handshake."""

from __future__ import annotations

from typing import TYPE_CHECKING

from babar_tls.config import TlsVerify
from babar_tls.errors import Error, TlsError
from babar_tls.testing.backend_checks._check import Trial, check, raised
from babar_tls.testing.backend_checks._pair import NAME, facts_of
from babar_tls.testing.backend_checks._pyopenssl import PyOpenSslServer
from babar_tls.testing.backend_checks._tls13 import DATA, HANDSHAKE, Tls13Server

if TYPE_CHECKING:
    from babar_tls.tls.connection import TlsConnection


@check()
def wrong_key(trial: Trial) -> None:
    """A server that does not hold its certificate's key is refused, or possession_proven is False."""
    for level in TlsVerify:
        if "TLSv1.3" in trial.versions:
            with trial.case(f"TLSv1.3, verify={level.value}"):
                stream = trial.connection(NAME, trial.parameters(verify=level))
                thief = Tls13Server(trial.world.certificate, prover=trial.world.authority.issue(NAME))
                _proven_or_refused(trial, level, stream, lambda thief=thief, stream=stream: thief.connect(stream))
        if "TLSv1.2" in trial.versions:
            with trial.case(f"TLSv1.2, verify={level.value}"):
                _changed_key_exchange(trial, level)


def _proven_or_refused(trial: Trial, level: TlsVerify, stream: TlsConnection, connect: object) -> None:
    unchecked = level is TlsVerify.NONE and not trial.capabilities.unverified_proven
    if not unchecked:
        raised(TlsError, "handshake with a server whose signature is wrong", connect)  # type: ignore[arg-type]
        return
    try:
        connect()  # type: ignore[operator]
    except TlsError:
        return  # the backend does more than its capabilities state
    assert facts_of(stream).possession_proven is False, "possession_proven is not False"


def _changed_key_exchange(trial: Trial, level: TlsVerify) -> None:
    """Check that a changed signature of a ServerKeyExchange ends the handshake."""
    if level is TlsVerify.NONE and not trial.capabilities.unverified_proven:
        return
    pair = trial.pair(version="TLSv1.2", parameters=trial.parameters(verify=level))
    pair.client.do_handshake()
    pair._send()
    pair._serve()
    flight = bytearray(pair._from_server.read())
    flight[-9 - 20] ^= 1  # before it is ServerHelloDone, a record of nine bytes
    pair.client.receive_data(flight)
    raised(TlsError, "do_handshake() with a changed ServerKeyExchange", pair.client.do_handshake)
    kinds = {pair.client.data_to_send()[:1]} - {b""}
    assert kinds <= {b"\x15"}, "the client goes on to its own key exchange"


@check()
def possession(trial: Trial) -> None:
    """possession_proven is True after each handshake in which the server's signature was checked."""
    for level in TlsVerify:
        with trial.case(f"verify={level.value}"):
            proven = trial.pair(parameters=trial.parameters(verify=level)).handshake().facts.possession_proven
            wanted = level is not TlsVerify.NONE or trial.capabilities.unverified_proven
            assert proven is wanted, f"possession_proven is {proven!r}"


@check()
def key_update(trial: Trial) -> None:
    """Data follow the server's key updates, and a requested update is sent (RFC 8446 §4.6.3)."""
    trial.needs_version("TLSv1.3")
    stream = trial.connection()
    server = Tls13Server(trial.world.certificate).connect(stream)
    buffer = memoryview(bytearray(100))
    for index, requested in enumerate((False, True, True)):
        word = b"word %d" % index
        stream.receive_data(server.update_keys(requested=requested))
        assert stream.read_into(buffer) is None, "a key update is read as data"
        stream.receive_data(server.seal(DATA, word))
        read = bytes(buffer[: stream.read_into(buffer) or 0])
        assert read == word, f"read {read!r} behind a key update"
        stream.write(b"answer")
        got = list(server.receive(stream.data_to_send()))
        assert (DATA, b"answer") in got, f"the server got {got!r}"
        assert (got[0] == (HANDSHAKE, b"\x18\0\0\1\0")) is requested, f"the answer to a key update is {got!r}"


@check()
def session_tickets(trial: Trial) -> None:
    """Session tickets (RFC 8446 §4.6.1), are neither data nor the end."""
    trial.needs_version("TLSv1.3")
    stream = trial.connection()
    server = Tls13Server(trial.world.certificate).connect(stream)
    buffer = memoryview(bytearray(100))
    for index in range(20):
        body = (3600).to_bytes(4, "big") + bytes([index] * 4) + b"\1\1" + b"\0\x20" + bytes([index] * 32) + b"\0\0"
        stream.receive_data(server.seal(HANDSHAKE, b"\4" + len(body).to_bytes(3, "big") + body))
        if index % 2:
            assert stream.read_into(buffer) is None, "a ticket is read as data, or as the end"
        stream.receive_data(server.seal(DATA, b"word"))
        read = bytes(buffer[: stream.read_into(buffer) or 0])
        assert read == b"word", f"read {read!r} behind a ticket"


@check()
def renegotiation(trial: Trial) -> None:
    """A TLS 1.2 server does not get a second handshake: another certificate could come with it."""
    trial.needs_version("TLSv1.2")
    server = PyOpenSslServer(trial.world.certificate, "TLSv1.2")
    stream = trial.connection()
    server.connect(stream)
    server.renegotiate()
    buffer = memoryview(bytearray(100))
    try:
        for _ in range(6):
            stream.receive_data(server.flush())
            count = stream.read_into(buffer)
            assert count is None, f"read_into() returned {count!r}"
            server.receive(stream.data_to_send())
    except Error:
        pass
    assert server.renegotiations() == 0, "the server has renegotiated"
