"""A TCP relay between client and server that records, and damages the stream on request."""

from __future__ import annotations

import select
import socket
from typing import TYPE_CHECKING

from babar_tls.testing import ScriptedServer

if TYPE_CHECKING:
    from babar_tls.testing import PostgresServer, ScriptedPeer

_POLL = 0.01  # seconds until a request takes effect


class Relay(ScriptedServer):
    """A relay to `server`.

    Args:
        server: The server.
        piece: How many bytes it forwards to the client at once.

    Attributes:
        sent: What the client sent on each connection.
        fault: The fault for open connections: ``flip`` (change the next byte from the server), ``fin``, ``reset``, or
            ``stall`` (forward nothing).
        refuses: Whether it resets new connections.
    """

    def __init__(self, server: PostgresServer, piece: int = 1 << 16) -> None:
        super().__init__(self._relay, timeout=60)
        self._server = server
        self._piece = piece
        self.sent: list[bytearray] = []
        self.fault = ""
        self.refuses = False

    def _relay(self, peer: ScriptedPeer) -> None:
        sent = bytearray()
        self.sent.append(sent)
        if self.refuses:
            peer.reset()
            return
        with socket.create_connection((self._server.host, self._server.port)) as server:
            while not self._closing:
                readable = select.select([peer.socket, server], [], [], _POLL)[0]
                if self.fault == "fin":
                    peer.socket.shutdown(socket.SHUT_WR)
                    peer.receive_exactly(1 << 30)  # until the client disconnects
                if self.fault == "reset":
                    peer.reset()
                    return
                if self.fault == "stall":
                    continue
                if peer.socket in readable:
                    data = peer.receive()
                    if not data:
                        return
                    sent += data
                    server.sendall(data)
                if server in readable:
                    data = server.recv(1 << 16)
                    if not data:
                        return
                    if self.fault == "flip":
                        data = data[:-1] + bytes([data[-1] ^ 1])
                        self.fault = ""
                    for start in range(0, len(data), self._piece):
                        peer.send(data[start : start + self._piece])
