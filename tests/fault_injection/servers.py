"""A scripted PostgreSQL server and a TLS relay that label all bytes that they send and apply faults to them.

`MessageServer` applies faults to the messages that it sends, with or without TLS. It has its own implementation of
SCRAM (RFC 5802), so that client and server do not share a mistake. After the exchange has begun it refuses nothing:
the client must detect each fault itself.

`RecordRelay` applies faults to the TLS records of another server, and to its answer to SSLRequest.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import hmac
import os
import select
import socket
import ssl
import struct
from typing import TYPE_CHECKING

from babar_tls.testing import PeerDisconnected, ScriptedPeer, ScriptedServer

from .faults import Faults

if TYPE_CHECKING:
    from collections.abc import Iterator

    from babar_tls.testing import ServerCertificate

    from .faults import Encounter

USER = "app"
PASSWORD = "a secret of ours"
ITERATIONS = 1  # the derivation is not tested here

#: All addresses. Those in 127.0.0.0/8 are used; see `faults`.
_EVERYWHERE = "0.0.0.0"  # noqa: S104 - a test server with temporary credentials
_PLUS, _PLAIN = b"SCRAM-SHA-256-PLUS", b"SCRAM-SHA-256"
_SALT = b"0123456789abcdef"
_PARAMETERS = {b"server_version": b"17.5", b"TimeZone": b"Europe/Paris", b"search_path": b"", b"is_superuser": b"off"}
_NOTICE = b"SNOTICE\0VNOTICE\0C00000\0Mmaintenance at noon\0\0"
_WAIT = 20.0  # seconds; longer than any deadline of a client

Piece = tuple[str, bytes]


class _Cut(Exception):
    """The fault has ended the stream."""


def unexpected_errors(server: ScriptedServer) -> list[BaseException]:
    """Return and clear the errors of a server's scripts, except those of clients that disconnected early."""
    errors = [error for error in server.errors if not (isinstance(error, OSError) and error.errno == errno.ENOTCONN)]
    server.errors.clear()
    return errors


class MessageServer(ScriptedServer):
    """A PostgreSQL server with SCRAM authentication that answers every query with one row, ``1``.

    Args:
        certificate: The certificate; `None` for a server without TLS and channel binding.
        version: The only TLS version.
    """

    def __init__(self, certificate: ServerCertificate | None = None, version: ssl.TLSVersion | None = None) -> None:
        options = {} if certificate is None else {"minimum_version": version, "maximum_version": version}
        super().__init__(self._converse, tls=certificate, host=_EVERYWHERE, timeout=_WAIT, **options)
        self.faults = Faults()
        self._binding = b"n,,"
        self._mechanisms = [("name of the chosen mechanism", _PLAIN)]
        if certificate is not None:  # RFC 5929 section 4.1; the certificate is signed with SHA-256
            self._binding = b"p=tls-server-end-point,," + hashlib.sha256(certificate.der).digest()
            self._mechanisms = [
                ("name of the chosen mechanism", _PLUS),
                ("mechanism list", b"\0"),
                ("name of a mechanism that is not chosen", _PLAIN),
            ]
        salted = hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), _SALT, ITERATIONS)
        self._stored_key = hashlib.sha256(_hmac(salted, b"Client Key")).digest()
        self._server_key = _hmac(salted, b"Server Key")

    def _converse(self, peer: ScriptedPeer) -> None:
        encounter = self.faults.of(peer.socket)
        try:
            peer.receive_startup()
            self._authenticate(peer, encounter)
            _send_until_ready(peer, encounter)
            _answer_queries(peer)
        except _Cut:
            if encounter.fault is not None and encounter.fault.action == "stall":
                _discard(peer)
            elif peer.tls is not None:  # close_notify is the harder case, because it looks intentional
                with contextlib.suppress(ssl.SSLError, PeerDisconnected):
                    peer.close_notify()

    def _authenticate(self, peer: ScriptedPeer, encounter: Encounter) -> None:
        _send(
            peer,
            encounter,
            b"R",
            ("request code", struct.pack("!i", 10)),
            *self._mechanisms,
            ("mechanism list", b"\0\0"),
        )
        chosen, _, rest = _receive(peer).partition(b"\0")
        bare = rest[4:].split(b",", 2)[2]  # after the length and the gs2-header
        client_nonce = bare.partition(b"r=")[2]
        nonce = client_nonce + base64.b64encode(os.urandom(18))
        server_first = b"r=%b,s=%b,i=%d" % (nonce, base64.b64encode(_SALT), ITERATIONS)
        _send(peer, encounter, b"R", ("request code", struct.pack("!i", 11)), ("server-first-message", server_first))
        without_proof, _, proof = _receive(peer).rpartition(b",p=")
        auth_message = b",".join([bare, server_first, without_proof])
        if encounter.fault is None:
            assert chosen == self._mechanisms[0][1]
            assert without_proof == b"c=%b,r=%b" % (base64.b64encode(self._binding), nonce)
            signature = _hmac(self._stored_key, auth_message)
            client_key = bytes(a ^ b for a, b in zip(base64.b64decode(proof), signature, strict=True))
            assert hashlib.sha256(client_key).digest() == self._stored_key
        signature = base64.b64encode(_hmac(self._server_key, auth_message))
        _send(
            peer,
            encounter,
            b"R",
            ("request code", struct.pack("!i", 12)),
            ("server-final-message", b"v="),
            ("server signature", signature),
        )
        _send(peer, encounter, b"R", ("request code", struct.pack("!i", 0)))


def _send_until_ready(peer: ScriptedPeer, encounter: Encounter) -> None:
    for name, value in _PARAMETERS.items():
        content = [("parameter name", name), ("end of a string", b"\0"), ("parameter value", value)]
        _send(peer, encounter, b"S", *content, ("end of a string", b"\0"))
    _send(peer, encounter, b"N", ("fields of a notice", _NOTICE))
    _send(peer, encounter, b"K", ("process ID and cancel key", struct.pack("!i", 4711) + os.urandom(4)))
    _send(peer, encounter, b"Z", ("transaction status", b"I"))


def _answer_queries(peer: ScriptedPeer) -> None:
    while peer.receive_message()[0] == b"Q":
        peer.send_message(b"T", struct.pack("!h", 1) + b"?column?\0" + struct.pack("!ihihih", 0, 0, 23, 4, -1, 0))
        peer.send_message(b"D", struct.pack("!hi", 1, 1) + b"1")
        peer.send_message(b"C", b"SELECT 1\0")
        peer.send_message(b"Z", b"I")


def _send(peer: ScriptedPeer, encounter: Encounter, kind: bytes, *content: Piece) -> None:
    """Send one message with the fault applied."""
    length = struct.pack("!i", 4 + sum(len(data) for _, data in content))
    name = {b"R": "authentication request", b"Z": "ReadyForQuery"}.get(kind, "message")
    data = encounter.apply([(f"type of {name}", kind), (f"length of {name}", length), *content])
    if data:
        peer.send(data)
    if encounter.cut:
        raise _Cut


def _receive(peer: ScriptedPeer) -> bytes:
    kind, payload = peer.receive_message()
    if kind != b"p":
        raise PeerDisconnected(f"the client sent a message of type {kind!r}")
    return payload


def _discard(peer: ScriptedPeer) -> None:
    """Receive until the client disconnects."""
    while peer.receive():
        pass


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


class RecordRelay(ScriptedServer):
    """A TCP proxy in front of a TLS server that recognizes TLS records.

    Args:
        port: The server's port on 127.0.0.1.
    """

    def __init__(self, port: int) -> None:
        super().__init__(self._relay, host=_EVERYWHERE, timeout=_WAIT)
        self.faults = Faults()
        self._upstream = "127.0.0.1", port

    def _relay(self, peer: ScriptedPeer) -> None:
        encounter = self.faults.of(peer.socket)
        records = _RecordLabeler()
        client = peer.socket
        with socket.create_connection(self._upstream, timeout=_WAIT) as server:
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                while True:
                    readable, _, _ = select.select([client, server], [], [], _WAIT)
                    if client in readable:
                        data = client.recv(65536)
                        if not data:
                            return
                        server.sendall(data)
                    if server in readable:
                        data = server.recv(65536)
                        if not data:
                            return
                        client.sendall(encounter.apply(records.feed(data)))
                        if encounter.cut:
                            break
                    if not readable:
                        return
            except ConnectionError:
                return  # closing the other connection reports this
            if encounter.fault is not None and encounter.fault.action == "stall":
                with contextlib.suppress(PeerDisconnected):
                    _discard(peer)


class _RecordLabeler:
    """Labels the bytes of a server: the answer to SSLRequest, then TLS records (RFC 8446 section 5.1)."""

    _HEADER = (("record type", 1), ("major record version", 1), ("minor record version", 1), ("record length", 2))

    def __init__(self) -> None:
        self._label = "answer to SSLRequest"
        self._left = 1
        self._length = b""
        self._next = self._labels()

    def feed(self, data: bytes) -> Iterator[Piece]:
        """Yield the bytes in labelled pieces."""
        while data:
            piece, data = data[: self._left], data[self._left :]
            self._left -= len(piece)
            if self._label == "record length":
                self._length += piece
            yield self._label, piece
            if not self._left:
                self._label, self._left = next(self._next)

    def _labels(self) -> Iterator[tuple[str, int]]:
        while True:
            self._length = b""
            yield from self._HEADER
            (length,) = struct.unpack("!H", self._length)
            if length:
                yield "record content", length
