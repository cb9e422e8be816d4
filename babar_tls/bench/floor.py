"""The least that a connect can be in Python: for each TLS library, SCRAM in a straight line.

A floor is a measure for drivers. It verifies the server in full, binds the channel, derives the keys with the compiled
helper and checks the server's signature. It has no deadline, no policy and no report, and it does not handle a server
that deviates from what PostgreSQL sends when all goes well. What a blocking driver takes beyond the floor of its TLS
library is the cost of the driver's own code.
"""

from __future__ import annotations

import base64
import hmac
import os
import socket
from typing import TYPE_CHECKING, Any

from ..crypto import scram_keys, tls_server_end_point
from ..errors import ProtocolError
from ..protocol import messages
from .floor_tls import LIBRARIES
from .spec import FLOOR, Client, Spec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..crypto import ScramKeys
    from .floor_tls import Stream
    from .places import Place


_PATIENCE = 60.0  # seconds for each wait


def floor_specs(backends: Iterable[str | None]) -> list[Spec]:
    """Return the floors of these backends, each without cached keys and with them."""
    return [
        Spec(driver=FLOOR, backend=backend, key_cache=cached)
        for backend in backends
        if backend in LIBRARIES
        for cached in (False, True)
    ]


class Floor(Client):
    """As described above; blocking, and by SSLRequest."""

    def __init__(self, spec: Spec, place: Place) -> None:
        super().__init__(spec, place)
        self._start_tls = LIBRARIES[spec.backend or ""](place)
        self._startup = messages.startup([("user", place.user), ("database", place.database)])
        self._keys: dict[tuple[bytes, int], ScramKeys] = {}

    def open(self) -> Stream:
        """As above."""
        place = self.place
        sock = socket.create_connection((place.address or place.host, place.port), timeout=_PATIENCE)
        stream: Stream = sock
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.sendall(messages.ssl_request())
            if sock.recv(1) != b"S":
                raise ProtocolError("the server has no TLS")
            stream, certificate = self._start_tls(sock)
            self._log_in(stream, certificate)
        except BaseException:
            stream.close()
            raise
        return stream

    def _log_in(self, stream: Stream, certificate: bytes) -> None:
        place = self.place
        name, header, binding = b"SCRAM-SHA-256", b"n,,", b""
        if place.binds:
            name, header = b"SCRAM-SHA-256-PLUS", b"p=tls-server-end-point,,"
            binding = tls_server_end_point(certificate)
        bare = b"n=,r=" + base64.b64encode(os.urandom(18))
        first = header + bare
        body = name + b"\0" + len(first).to_bytes(4, "big") + first
        stream.sendall(self._startup + messages.frame(b"p", body))
        _, _, data = _message(stream, b"")  # AuthenticationSASL
        _, challenge, data = _message(stream, data)
        server_first = challenge[4:]
        nonce, salt, iterations = (part[2:] for part in server_first.split(b","))
        keys = self._derived(base64.b64decode(salt), int(iterations))
        without_proof = b"c=" + base64.b64encode(header + binding) + b",r=" + nonce
        auth_message = b",".join([bare, server_first, without_proof])
        signature = hmac.digest(keys.stored_key, auth_message, "sha256")
        proof = (int.from_bytes(keys.client_key, "big") ^ int.from_bytes(signature, "big")).to_bytes(32, "big")
        stream.sendall(messages.frame(b"p", without_proof + b",p=" + base64.b64encode(proof)))
        _, verdict, data = _message(stream, data)
        expected = b"v=" + base64.b64encode(hmac.digest(keys.server_key, auth_message, "sha256"))
        if not hmac.compare_digest(verdict[4:], expected):
            raise ProtocolError("the server's signature is wrong")
        kind = b""
        while kind != b"Z":
            kind, _, data = _message(stream, data)

    def close(self, session: Stream) -> None:
        """As above."""
        session.sendall(messages.TERMINATE)
        session.close()

    def stream(self, session: Any, sql: str) -> int:
        """Raise: a floor has no queries."""
        raise NotImplementedError("it connects, and does nothing else")

    def _derived(self, salt: bytes, iterations: int) -> ScramKeys:
        keys = self._keys.get((salt, iterations)) if self.spec.key_cache else None
        if keys is None:
            keys = self._keys[salt, iterations] = scram_keys(self.place.password, salt, iterations)
        return keys


def _message(stream: Stream, data: bytes) -> tuple[bytes, bytes, bytes]:
    """Return the next message's type and payload, and the bytes after it."""
    while len(data) < 5 or len(data) <= int.from_bytes(data[1:5], "big"):
        more = stream.recv(1 << 14)
        if not more:
            raise ProtocolError("the server has closed the connection")
        data += more
    kind, end = data[:1], 1 + int.from_bytes(data[1:5], "big")
    if kind == b"E":
        raise ProtocolError("the server refused")
    return kind, data[5:end], data[end:]
