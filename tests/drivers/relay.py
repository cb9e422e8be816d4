"""A proxy that records what clients send, and that can break their connections."""

from __future__ import annotations

import select
import socket
from typing import TYPE_CHECKING

from babar_tls.testing import ScriptedPeer, ScriptedServer

if TYPE_CHECKING:
    from babar_tls.testing import PostgresServer


class Relay(ScriptedServer):
    """A proxy in front of a server.

    Attributes:
        sent: What the clients have sent, in the order of arrival.
        connections: The number of connections.
        fault: What happens when the server sends data: ``fin`` and ``rst`` close the connection, ``flipped`` changes
            the last bit.
    """

    def __init__(self, server: PostgresServer) -> None:
        super().__init__(self._relay, timeout=60.0)
        self._upstream = (server.host, server.port)
        self.sent = bytearray()
        self.connections = 0
        self.fault = ""

    def _relay(self, peer: ScriptedPeer) -> None:
        self.connections += 1
        with socket.create_connection(self._upstream, timeout=60.0) as upstream:
            while True:
                for source in select.select([peer.socket, upstream], [], [], 60.0)[0]:
                    data = source.recv(1 << 16)
                    if not data:
                        return
                    if source is peer.socket:
                        self.sent += data
                        upstream.sendall(data)
                    elif self.fault == "fin":
                        return
                    elif self.fault == "rst":
                        peer.reset()
                        return
                    elif self.fault == "flipped":
                        peer.send(data[:-1] + bytes([data[-1] ^ 1]))
                    else:
                        peer.send(data)
