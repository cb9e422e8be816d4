"""Honest and hostile PostgreSQL servers in a separate process.

A server in the client's process would share its GIL, and a measurement of the client would include the server.
`PeerProcess` starts ``python -m connecting.peers``, which serves each kind of peer on its own port and exits when its
standard input is closed.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import secrets
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
from base64 import b64decode, b64encode
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from babar_tls.crypto import scram_keys, tls_server_end_point
from babar_tls.protocol.scram import ScramServer
from babar_tls.testing import PeerDisconnected, ScriptedServer, ServerCertificate
from babar_tls.testing.backend_checks._hello import ClientHello
from babar_tls.testing.backend_checks._tls13 import HANDSHAKE, Tls13Server

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from babar_tls.testing import ScriptedPeer

    Script = Callable[[ScriptedPeer, "Identity"], Callable[[], None]]

USER = "app"
PASSWORD = "a secret of ours"
ITERATIONS = 1_000_000  # of PBKDF2, that the server "derivation" requires

_ITERATIONS = 4096  # that the honest server requires
_SASL, _SASL_CONTINUE, _SASL_FINAL = 10, 11, 12
_TIMEOUT = 120.0  # seconds, longer than any test
_NICENESS = 10
_MAX_RECORD = 1 << 14
_MAX_MESSAGE = (1 << 30) - 1  # PostgreSQL's MaxAllocSize

AUTHENTICATION_OK = b"R" + struct.pack("!ii", 8, 0)
READY = b"Z" + struct.pack("!i", 5) + b"I"


def message(kind: bytes, payload: bytes) -> bytes:
    return kind + struct.pack("!i", 4 + len(payload)) + payload


NOTICE = message(b"N", b"SNOTICE\0VNOTICE\0C00000\0Mnothing to see here\0\0")
ROW_DESCRIPTION = message(b"T", b"\0\1" + b"transaction_read_only\0" + struct.pack("!ihihih", 0, 0, 25, -1, -1, 0))
DATA_ROW = message(b"D", b"\0\1" + struct.pack("!i", 3) + b"off")
#: HelloRequests (RFC 5246 section 7.4.1.1) in a plain-text TLS record. A client ignores them during a handshake.
HELLO_REQUESTS = b"\x16\3\3" + struct.pack("!H", _MAX_RECORD) + bytes(_MAX_RECORD)


class Identity:
    """The certificate of the servers, with one TLS context and SCRAM secret for all connections.

    Creating them takes time. Doing so for each connection would make the server slower than the measured client.
    """

    def __init__(self, certificate: ServerCertificate) -> None:
        self.certificate = certificate
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.set_alpn_protocols(["postgresql"])
        with tempfile.TemporaryDirectory() as folder:
            paths = Path(folder, "server.crt"), Path(folder, "server.key")
            certificate.write(*paths)
            self.context.load_cert_chain(*paths)
        self._salt = secrets.token_bytes(16)
        self._keys = scram_keys(PASSWORD, self._salt, _ITERATIONS)
        self._binding = {"tls-server-end-point": tls_server_end_point(certificate.der)}

    def start_tls(self, peer: ScriptedPeer) -> None:
        peer.socket = self.context.wrap_socket(peer.socket, server_side=True, do_handshake_on_connect=False)
        try:
            peer.socket.do_handshake()
        except OSError as exc:
            raise PeerDisconnected from exc

    def authenticate(self, peer: ScriptedPeer) -> None:
        exchange = ScramServer(self._keys, self._salt, _ITERATIONS, channel_binding=self._binding)
        mechanisms = b"".join(name.encode() + b"\0" for name in exchange.mechanisms)
        peer.send(message(b"R", struct.pack("!i", _SASL) + mechanisms + b"\0"))
        name, _, rest = peer.receive_message()[1].partition(b"\0")
        first = exchange.server_first_message(name.decode(), rest[4:])
        peer.send(message(b"R", struct.pack("!i", _SASL_CONTINUE) + first))
        final = exchange.server_final_message(peer.receive_message()[1])
        peer.send(message(b"R", struct.pack("!i", _SASL_FINAL) + final))


def receive_until_closed(peer: ScriptedPeer) -> None:
    """Read until the client has closed the connection."""
    while peer.receive():
        pass


def flood(peer: ScriptedPeer, piece: bytes) -> None:
    """Send copies of `piece` until the client has closed the connection."""
    pieces = piece * (1 + (1 << 17) // len(piece))
    while True:
        peer.send(pieces)


def flood_tickets(peer: ScriptedPeer, tls: Tls13Server) -> None:
    """Send NewSessionTicket messages (RFC 8446 section 4.6.1) until the client has closed the connection."""
    for number in itertools.count():
        # ticket_lifetime, ticket_age_add, ticket_nonce, ticket, extensions
        ticket = struct.pack("!IIBQ", 7200, number, 8, number) + b"\0\x20" + bytes(32) + b"\0\0"
        record = (b"\4" + len(ticket).to_bytes(3, "big") + ticket) * (_MAX_RECORD // (4 + len(ticket)))
        peer.send(b"".join(tls.seal(HANDSHAKE, record) for _ in range(8)))


def read_ssl_request(peer: ScriptedPeer) -> None:
    peer.receive_startup()
    peer.send(b"S")


def read_startup(peer: ScriptedPeer, identity: Identity) -> None:
    """Complete the TLS handshake and read the StartupMessage."""
    read_ssl_request(peer)
    identity.start_tls(peer)
    peer.receive_startup()


def read_query(peer: ScriptedPeer, identity: Identity) -> None:
    """Complete the login without the parameters for `target_session_attrs`, and read the query for them."""
    read_startup(peer, identity)
    peer.send(AUTHENTICATION_OK + message(b"S", b"server_version\00013.0\0") + READY)
    kind = b""
    while kind != b"Q":
        kind, _ = peer.receive_message()


# A script behaves like a PostgreSQL server up to some point, and returns a function for the rest.


def log_in(peer: ScriptedPeer, identity: Identity) -> Callable[[], None]:
    read_startup(peer, identity)
    identity.authenticate(peer)
    ready = AUTHENTICATION_OK + message(b"S", b"server_version\00017.0\0") + message(b"K", struct.pack("!ii", 4711, 42))
    peer.send(ready + READY)
    return partial(receive_until_closed, peer)


def hello_requests(peer: ScriptedPeer, identity: Identity) -> Callable[[], None]:
    """Send HelloRequests without encryption in place of a ServerHello."""
    read_ssl_request(peer)
    peer.receive_exactly(5)
    return partial(flood, peer, HELLO_REQUESTS)


def tickets(peer: ScriptedPeer, identity: Identity) -> Callable[[], None]:
    """Complete the TLS 1.3 handshake, and send NewSessionTicket messages in place of an authentication request."""
    read_ssl_request(peer)
    tls = Tls13Server(identity.certificate)
    hello = b""
    while ClientHello.parse(hello) is None:
        header = peer.receive_exactly(5)  # raises if the client has closed the connection
        hello += header + peer.receive_exactly(int.from_bytes(header[3:5], "big"))
    peer.send(tls.answer(hello))
    peer.receive_exactly(5)
    return partial(flood_tickets, peer, tls)


def notices(peer: ScriptedPeer, identity: Identity) -> Callable[[], None]:
    """Send NoticeResponses in place of ReadyForQuery."""
    read_startup(peer, identity)
    peer.send(AUTHENTICATION_OK)
    return partial(flood, peer, NOTICE)


def notices_for_answer(peer: ScriptedPeer, identity: Identity) -> Callable[[], None]:
    """Send NoticeResponses in response to the query for `target_session_attrs`."""
    read_query(peer, identity)
    return partial(flood, peer, NOTICE)


def rows_for_answer(peer: ScriptedPeer, identity: Identity) -> Callable[[], None]:
    """Send endless DataRows in response to the query for `target_session_attrs`."""
    read_query(peer, identity)
    peer.send(ROW_DESCRIPTION)
    return partial(flood, peer, DATA_ROW)


def giant_row_for_answer(peer: ScriptedPeer, identity: Identity) -> Callable[[], None]:
    """Send the header of a DataRow of 1 GB and endless bytes in response to the same query."""
    read_query(peer, identity)
    peer.send(ROW_DESCRIPTION + b"D" + struct.pack("!ihi", _MAX_MESSAGE, 1, _MAX_MESSAGE - 10))
    return partial(flood, peer, b"x")


def drip(peer: ScriptedPeer, identity: Identity) -> Callable[[], None]:
    """Send a TLS handshake record, one byte every 5 ms."""
    read_ssl_request(peer)
    peer.receive_exactly(5)
    return partial(peer.drip, b"\x16\3\3\x40\0\2\0\x3f\xf0" + bytes(_MAX_RECORD), 0.005)


def silence(peer: ScriptedPeer, identity: Identity) -> Callable[[], None]:
    return partial(receive_until_closed, peer)


def derivation(peer: ScriptedPeer, identity: Identity) -> Callable[[], None]:
    """Require `ITERATIONS` of PBKDF2 with a new salt, and then refuse the login."""
    read_startup(peer, identity)
    peer.send(message(b"R", struct.pack("!i", _SASL) + b"SCRAM-SHA-256\0\0"))
    nonce = peer.receive_message()[1].partition(b"r=")[2] + b"more"
    salt = b64encode(secrets.token_bytes(16))
    peer.send(message(b"R", struct.pack("!i", _SASL_CONTINUE) + b"r=%s,s=%s,i=%d" % (nonce, salt, ITERATIONS)))

    def refuse() -> None:
        peer.receive_message()
        peer.send(message(b"E", b"SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed\0\0"))

    return refuse


FLOODS: dict[str, Script] = {
    "hello_requests": hello_requests,
    "tickets": tickets,
    "notices": notices,
    "notices_for_answer": notices_for_answer,
    "rows_for_answer": rows_for_answer,
    "giant_row_for_answer": giant_row_for_answer,
}
SLOW: dict[str, Script] = {
    "drip": drip,
    "silent": silence,
    "derivation": derivation,
}
SCRIPTS: dict[str, Script] = {"honest": log_in, **FLOODS, **SLOW}


class PeerProcess:
    """A process that serves peers.

    Args:
        kinds: Keys of `SCRIPTS`.
        certificate: The certificate of all peers.
        nice: Give the process a low priority. Real servers run on other machines, so a flooding server must not take
            CPU time from the client.

    Attributes:
        ports: The port of each kind.
    """

    def __init__(self, *kinds: str, certificate: ServerCertificate, nice: bool = False) -> None:
        self.ports: dict[str, int] = {}
        self._kinds = kinds
        self._certificate = certificate
        self._nice = nice

    def __enter__(self) -> Self:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "connecting.peers"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parent.parent,
            env=environment,
        )
        fields = {
            name: b64encode(value).decode() if isinstance(value, bytes) else value
            for name, value in asdict(self._certificate).items()
        }
        self.ports = self._request({"kinds": self._kinds, "certificate": fields, "nice": self._nice})
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        finally:
            assert self._process.stdout is not None
            self._process.stdout.close()

    def check(self, kind: str) -> None:
        """Assert that a client reached the end of the peer's script, and that the script had no errors."""
        report = self._request(kind)
        assert report["errors"] == []
        assert report["reached"] > 0

    def wait_until_disconnected(self, kind: str, seconds: float) -> float:
        """Return the seconds until no client is connected to the peer `kind`, at most about `seconds`."""
        started = time.monotonic()
        while self._request(kind)["connections"] and time.monotonic() - started < seconds:
            time.sleep(0.005)
        return time.monotonic() - started

    def _request(self, request: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


class _Counted:
    """A script with the number of its connections and errors."""

    def __init__(self, script: Script, identity: Identity) -> None:
        self.server = ScriptedServer(self._serve, timeout=_TIMEOUT)
        self._connections = self._reached = 0
        self._lock = threading.Lock()
        self._script = script
        self._identity = identity

    def report(self) -> dict[str, Any]:
        errors = [repr(error) for error in self.server.errors]
        return {"connections": self._connections, "reached": self._reached, "errors": errors}

    def _serve(self, peer: ScriptedPeer) -> None:
        with self._lock:
            self._connections += 1
        try:
            finish = self._script(peer, self._identity)
            with self._lock:
                self._reached += 1
            finish()
        finally:
            with self._lock:
                self._connections -= 1


def main() -> None:
    """Serve the kinds in the first line of standard input; report on the kinds in the following lines."""
    task = json.loads(sys.stdin.readline())
    if task["nice"]:
        os.nice(_NICENESS)
    fields = task["certificate"]
    certificate = ServerCertificate(**{name: b64decode(value) for name, value in fields.items()})
    identity = Identity(certificate)
    with contextlib.ExitStack() as stack:
        ports, scripts = {}, {}
        for kind in task["kinds"]:
            scripts[kind] = _Counted(SCRIPTS[kind], identity)
            ports[kind] = stack.enter_context(scripts[kind].server).port
        answer: Any = ports
        while True:
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()
            line = sys.stdin.readline()
            if not line:
                return
            answer = scripts[json.loads(line)].report()


if __name__ == "__main__":
    main()
