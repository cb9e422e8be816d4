"""Checks of keys: the server's proof of possession, and new keys after the handshake."""

from __future__ import annotations

from babar_tls.config import TlsVerify
from babar_tls.errors import Error, TlsError
from babar_tls.testing.backend_checks._check import LEVELS, Trial, check, raised, same
from babar_tls.testing.backend_checks._pair import NAME, facts_of, read_once
from babar_tls.testing.backend_checks._pyopenssl import PyOpenSslServer
from babar_tls.testing.backend_checks._tls13 import DATA, HANDSHAKE, Tls13Server, connect_tls13


def _is_proven(trial: Trial, level: TlsVerify) -> bool:
    return level is not TlsVerify.NONE or trial.capabilities.unverified_proven


@check(per_version=True, cases=LEVELS)
def wrong_key(trial: Trial, version: str, level: TlsVerify) -> None:
    """A server that does not hold its certificate's key is refused, or possession_proven is False."""
    if version == "TLSv1.3":
        _wrong_signature(trial, level)
    elif _is_proven(trial, level):
        _changed_key_exchange(trial, level)


def _wrong_signature(trial: Trial, level: TlsVerify) -> None:
    connection = trial.connection(NAME, trial.parameters(verify=level))
    thief = Tls13Server(trial.fixtures.certificate, prover=trial.fixtures.authority.issue(NAME))
    if _is_proven(trial, level):
        raised(TlsError, "handshake with a server whose signature is wrong", thief.connect, connection)
        return
    try:
        thief.connect(connection)
    except TlsError:
        return  # the backend does more than its capabilities state
    assert facts_of(connection).possession_proven is False, "possession_proven is not False"


def _changed_key_exchange(trial: Trial, level: TlsVerify) -> None:
    """Check that a changed signature of a ServerKeyExchange ends the handshake."""
    pair = trial.pair(version="TLSv1.2", parameters=trial.parameters(verify=level))
    flight = bytearray(pair.first_flight())
    flight[-9 - 20] ^= 1  # in the signature: the last nine bytes are the record of ServerHelloDone
    pair.client.receive_data(flight)
    raised(TlsError, "do_handshake() with a changed ServerKeyExchange", pair.client.do_handshake)
    assert pair.client.data_to_send()[:1] in (b"", b"\x15"), "the client continues with its own key exchange"


@check(cases=LEVELS)
def possession(trial: Trial, level: TlsVerify) -> None:
    """possession_proven is True after each handshake in which the server's signature was checked."""
    proven = trial.pair(parameters=trial.parameters(verify=level)).handshake().facts.possession_proven
    assert proven is _is_proven(trial, level), f"possession_proven is {proven!r}"


@check()
def key_update(trial: Trial) -> None:
    """Data follow the server's key updates, and a requested update is sent (RFC 8446 §4.6.3)."""
    connection, server = connect_tls13(trial)
    for index, requested in enumerate((False, True, True)):
        word = b"word %d" % index
        connection.receive_data(server.update_keys(requested=requested))
        assert read_once(connection) is None, "a key update is read as data"
        connection.receive_data(server.seal(DATA, word))
        same(read_once(connection), word, "after a key update the client read")
        connection.write(b"answer")
        got = list(server.receive(connection.data_to_send()))
        assert (DATA, b"answer") in got, f"the server received {got!r}"
        assert (got[0] == (HANDSHAKE, b"\x18\0\0\1\0")) is requested, f"the answer to a key update is {got!r}"


@check()
def session_tickets(trial: Trial) -> None:
    """Session tickets (RFC 8446 §4.6.1) are neither data nor the end."""
    connection, server = connect_tls13(trial)
    for index in range(20):
        body = (3600).to_bytes(4, "big") + bytes([index] * 4) + b"\1\1" + b"\0\x20" + bytes([index] * 32) + b"\0\0"
        connection.receive_data(server.seal(HANDSHAKE, b"\4" + len(body).to_bytes(3, "big") + body))
        if index % 2:
            assert read_once(connection) is None, "a ticket is read as data, or as the end"
        connection.receive_data(server.seal(DATA, b"word"))
        same(read_once(connection), b"word", "after a ticket the client read")


@check()
def renegotiation(trial: Trial) -> None:
    """A TLS 1.2 server cannot start a second handshake, which could come with another certificate."""
    trial.needs_version("TLSv1.2")
    server = PyOpenSslServer(trial.fixtures.certificate)
    connection = trial.connection()
    server.connect(connection)
    server.renegotiate()
    try:
        for _ in range(6):
            connection.receive_data(server.flush())
            read = read_once(connection)
            assert read is None, f"read_into() returned {read!r}"
            server.receive(connection.data_to_send())
    except Error:
        pass
    assert server.renegotiations() == 0, "the server has renegotiated"
