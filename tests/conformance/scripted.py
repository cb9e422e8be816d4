"""Servers with a script, for what no real one does, and what each of their connections heard."""

from __future__ import annotations

import itertools
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from babar_tls.protocol.messages import frame
from babar_tls.testing import ScriptedServer
from babar_tls.testing._tls_contexts import SSL_REQUEST

if TYPE_CHECKING:
    from typing import Self

    from babar_tls.testing import ScriptedPeer, ServerCertificate

_FENCE = b"FENCE"
_PATIENCE = 30.0  # seconds for the scripts of connections that are closed to end
_HELLO = 0x16  # the first byte of TLS

Script = Callable[["Conversation"], None]


class Conversation:
    """One connection: the peer, and a note of what happened."""

    def __init__(self, peer: ScriptedPeer, certificate: ServerCertificate, name: str) -> None:
        self.peer = peer
        self.name = name
        self.heard: list[str] = []
        self._certificate = certificate

    def first(self) -> bytes:
        """Return the kind of the first packet: SSLRequest, a TLS record (which is not read), or StartupMessage."""
        if self.peer.tls is None and self.peer.socket.recv(1, socket.MSG_PEEK) == bytes((_HELLO,)):
            self.heard.append("direct")
            return b"direct"
        packet = self.peer.receive_startup()
        self.heard.append("SSLRequest" if packet == SSL_REQUEST else "startup")
        return self.heard[-1].encode()

    def start_tls(self, *protocols: str) -> None:
        """Perform the handshake; backends differ in whether they abort it or disconnect afterwards."""
        self.peer.start_tls(self._certificate, alpn_protocols=protocols)

    def refuse(self, sqlstate: str, message: str) -> None:
        fields = f"SFATAL\0VFATAL\0C{sqlstate}\0M{message}\0\0"
        self.peer.send_message(b"E", fields.encode())
        self.heard.append(f"refused {sqlstate}")

    def log_in(self, *negotiation: bytes, key: bytes = b"key!", **parameters: str) -> None:
        """Let the client in and answer its queries until it goes. The key is that for cancel requests.

        Everything is sent at once, after the payloads of NegotiateProtocolVersion: if a message makes the client leave,
        it depends on chance whether a later one can be sent.
        """
        parameters = {
            "server_version": "17.0",
            "in_hot_standby": "off",
            "default_transaction_read_only": "off",
            **parameters,
        }
        found = [
            *(frame(b"v", payload) for payload in negotiation),
            frame(b"R", struct.pack("!i", 0)),
            *(frame(b"S", f"{name}\0{value}\0".encode()) for name, value in parameters.items() if value),
            frame(b"K", struct.pack("!i", 4711) + key),
            frame(b"Z", b"I"),
        ]
        self.peer.send(b"".join(found))
        self.heard.append("login")
        while True:
            kind, payload = self.peer.receive_message()
            if kind == b"X":
                return
            if b"transaction_read_only" in payload:
                values = [parameters["default_transaction_read_only"] or "off"]
            elif b"pg_is_in_recovery" in payload:
                values = ["t" if parameters["in_hot_standby"] == "on" else "f"]
            else:
                values = [self.name, "scripted", "f", ""]
            self._answer(values)

    def _answer(self, values: list[str]) -> None:
        columns = b"".join(b"c\0" + struct.pack("!ihihih", 0, 0, 25, -1, -1, 0) for _ in values)
        self.peer.send_message(b"T", struct.pack("!h", len(values)) + columns)
        row = b"".join(struct.pack("!i", len(value.encode())) + value.encode() for value in values)
        self.peer.send_message(b"D", struct.pack("!h", len(values)) + row)
        self.peer.send_message(b"C", b"SELECT 1\0")
        self.peer.send(b"Z\0\0\0\x05I")


# --- What they say ----------------------------------------------------------------------------------------------------


def _answering(answer: bytes, *, then: str = "", plain: str = "login") -> Script:
    """To SSLRequest, `answer`, and then the end: ``close`` or ``reset``; plain connections are let in, or refused."""

    def script(talk: Conversation) -> None:
        kind = talk.first()
        if kind == b"SSLRequest":
            talk.peer.send(answer)
            if then == "reset":
                talk.peer.reset()
            elif then != "close":
                talk.peer.receive()  # what is unread when a socket is closed turns the end into a reset
        elif kind == b"direct":
            talk.peer.receive()
        else:
            _end(talk, plain)

    return script


def _refusing(sqlstate: str) -> Script:
    """Refuse TLS and every login."""

    def script(talk: Conversation) -> None:
        if talk.first() == b"SSLRequest":
            talk.peer.send(b"N")
            talk.first()
        talk.refuse(sqlstate, "not now")

    return script


def _welcoming(**parameters: str) -> Script:
    """Refuse TLS and accept every login."""

    def script(talk: Conversation) -> None:
        if talk.first() == b"SSLRequest":
            talk.peer.send(b"N")
            talk.first()
        talk.log_in(**parameters)

    return script


def _negotiating(*payloads: bytes, key: bytes = b"key!", late: bool = False) -> Script:
    """Refuse TLS, negotiate the protocol with these messages, after an authentication request if `late`, and log in."""

    def script(talk: Conversation) -> None:
        if talk.first() == b"SSLRequest":
            talk.peer.send(b"N")
            talk.first()
        if late:
            talk.peer.send_message(b"R", struct.pack("!i", 5) + b"salt")
            talk.peer.receive_message()
        talk.log_in(*payloads, key=key)

    return script


def _silent(talk: Conversation) -> None:
    """Receive, and send nothing."""
    talk.first()
    while talk.peer.receive():
        pass


def _over_tls(after: str, *protocols: str, plain: str = "login") -> Script:
    """TLS that works; what follows the startup message in it, and in the clear, differs."""

    def script(talk: Conversation) -> None:
        first = talk.first()
        if first != b"startup":
            if first == b"SSLRequest":
                talk.peer.send(b"S")
            talk.start_tls(*protocols)
            talk.first()
        _end(talk, after if first != b"startup" else plain)

    return script


def _end(talk: Conversation, how: str) -> None:
    if how == "login":
        talk.log_in()
    elif how.isdigit() and len(how) < 5:  # an authentication request that libpq and we cannot answer
        talk.peer.send_message(b"R", struct.pack("!i", int(how)))
        talk.peer.receive()
    elif how == "nonsense":
        talk.peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        talk.peer.receive()
    elif how == "mechanism":
        talk.peer.send_message(b"R", struct.pack("!i", 10) + b"SCRAM-SHA-9000\0\0")
        talk.peer.receive()
    elif how != "close":
        talk.refuse(how, "not like this")


_FIELDS = b"SFATAL\0VFATAL\0C53300\0Mno more of you\0\0"
_ERROR = b"E" + struct.pack("!i", 4 + len(_FIELDS)) + _FIELDS

#: Answers to SSLRequest, by name.
NEGOTIATION: dict[str, Script] = {
    "E": _answering(_ERROR, then="close"),
    "E, plain refused": _answering(_ERROR, then="close", plain="28000"),
    "garbage": _answering(b"X"),
    "HTTP": _answering(b"HTTP/1.1 400 Bad Request\r\n\r\n", then="close"),
    "close": _answering(b"", then="close"),
    "close, plain refused": _answering(b"", then="close", plain="28000"),
    "reset": _answering(b"", then="reset"),
    "S and more": _answering(b"SR\0\0\0\x08\0\0\0\0"),
    "N and more": _answering(b"NR\0\0\0\x08\0\0\0\0"),
    "S and no TLS": _answering(b"S"),
    "S, plain refused": _answering(b"S", plain="28000"),
    "N": _welcoming(),
    "no ALPN": _over_tls("login"),
    "ALPN": _over_tls("login", "postgresql"),
    "TLS, then close": _over_tls("close", "postgresql"),
    "TLS, then 28000": _over_tls("28000", "postgresql"),
    "TLS, then 57P03": _over_tls("57P03", "postgresql"),
    "TLS, then 53300": _over_tls("53300", "postgresql"),
    "TLS, then nonsense": _over_tls("nonsense", "postgresql"),
    "TLS, then Kerberos": _over_tls("2", "postgresql"),
    "TLS, then 99": _over_tls("99", "postgresql"),
    "TLS, then a new mechanism": _over_tls("mechanism", "postgresql"),
    "TLS, plain 28000": _over_tls("login", "postgresql", plain="28000"),
    "TLS, plain 57P03": _over_tls("login", "postgresql", plain="57P03"),
    "TLS, plain close": _over_tls("login", "postgresql", plain="close"),
    "TLS, plain nonsense": _over_tls("login", "postgresql", plain="nonsense"),
}
#: One of several hosts.
HOSTS: dict[str, Script] = {
    "starting": _refusing("57P03"),
    "stopping": _refusing("57P01"),
    "full": _refusing("53300"),
    "unwilling": _refusing("28000"),
    "silent": _silent,
    "leaving": _answering(b"", then="close", plain="28000"),
    "primary": _welcoming(),
    "standby": _welcoming(in_hot_standby="on"),
    "readonly": _welcoming(default_transaction_read_only="on"),
    "oldprimary": _welcoming(server_version="9.6.1", in_hot_standby="", default_transaction_read_only=""),
}


_OLDER = struct.pack("!ii", 0x30000, 0)
#: NegotiateProtocolVersion and BackendKeyData, by name. The former have the right length, which libpq does not check.
PROTOCOL: dict[str, Script] = {
    "old": _negotiating(_OLDER),
    "old, twice": _negotiating(_OLDER, _OLDER),
    "old, late": _negotiating(_OLDER, late=True),
    "same": _negotiating(struct.pack("!ii", 0x30002, 0)),
    "skipped": _negotiating(struct.pack("!ii", 0x30001, 0)),
    "newer": _negotiating(struct.pack("!ii", 0x30003, 0)),
    "version 2": _negotiating(struct.pack("!ii", 0x20000, 0)),
    "negative": _negotiating(struct.pack("!ii", 0x30000, -1)),
    "an option": _negotiating(struct.pack("!ii", 0x30000, 1) + b"_pq_.option\0"),
    "a setting": _negotiating(struct.pack("!ii", 0x30000, 1) + b"DateStyle\0"),
    "empty": _negotiating(b""),
    "no negotiation": _negotiating(),
    "key of 32": _negotiating(key=bytes(32)),
    "old, key of 32": _negotiating(_OLDER, key=bytes(32)),
    "key of 256": _negotiating(key=bytes(256)),
    "key of 257": _negotiating(key=bytes(257)),
    "key of 3": _negotiating(key=bytes(3)),
}


class ScriptLog:
    """A scripted server, and what its connections heard; to be fenced like a `ServerLog`."""

    def __init__(self, name: str, script: Script, certificate: ServerCertificate) -> None:
        self._name, self._script, self._certificate = name, script, certificate
        self._changed = threading.Condition()
        self._running = 0
        self._stretches: dict[int, list[str]] = {}
        self._waiting: list[Conversation] = []
        self._numbers = itertools.count(1)
        self._fences = 0
        self.server = ScriptedServer(self._converse, timeout=_PATIENCE)

    def __enter__(self) -> Self:
        self.server.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.server.close()

    def fence(self, *, unix: bool = False) -> int:
        """End a stretch of connections, all of whose scripts have ended; returns its number."""
        assert not unix
        number = next(self._numbers)
        with socket.create_connection((self.server.host, self.server.port)) as sock:
            sock.sendall(_FENCE)
            deadline = time.monotonic() + _PATIENCE
            with self._changed:
                while self._running or self._fences != number:
                    assert self._changed.wait(deadline - time.monotonic()), f"{self._name} still has its clients"
        assert not self.server.errors
        self._stretches[number] = [" ".join(talk.heard) for talk in self._waiting]
        self._waiting = []
        return number

    def stretches(self) -> dict[int, list[str]]:
        """Return what each connection received, in order, by the fence that follows them."""
        return self._stretches

    def _converse(self, peer: ScriptedPeer) -> None:
        if peer.socket.recv(len(_FENCE), socket.MSG_PEEK) == _FENCE:
            with self._changed:
                self._fences += 1
                self._changed.notify_all()
            return
        talk = Conversation(peer, self._certificate, self._name)
        with self._changed:
            self._running += 1
            self._waiting.append(talk)
        try:
            self._script(talk)
        except OSError:
            pass  # the client has left, which is an answer too
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()
