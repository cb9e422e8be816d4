"""The content of a ClientHello (RFC 8446 §4.1.2), read from the bytes on the wire."""

from __future__ import annotations

from dataclasses import dataclass

from babar_tls.tls import hello
from babar_tls.tls.hello import HANDSHAKE_RECORD, ClientOffer

_KEY_SHARE = 51


def records(data: bytes) -> list[tuple[int, bytes]]:
    """Return the whole TLS records at the start of `data`: content type and fragment (RFC 8446 §5.1)."""
    found = []
    position = 0
    while len(data) - position >= 5:
        end = position + 5 + int.from_bytes(data[position + 3 : position + 5], "big")
        if end > len(data):
            break
        found.append((data[position], data[position + 5 : end]))
        position = end
    return found


@dataclass(frozen=True)
class ClientHello:
    """The first message of a handshake.

    Attributes:
        message: The whole message, with its header.
        random: The client's random.
        session_id: The session ID, which a server echoes.
        offer: Versions, groups, cipher suites, ALPN protocols and SNI.
        shares: Public keys by the number of the group.
    """

    message: bytes
    random: bytes
    session_id: bytes
    offer: ClientOffer
    shares: dict[int, bytes]

    @classmethod
    def parse(cls, sent: bytes) -> ClientHello | None:
        """Return the ClientHello at the start of what a client has sent; `None` while it is not complete."""
        flight = b"".join(body for kind, body in records(sent) if kind == HANDSHAKE_RECORD)
        size = 4 + int.from_bytes(flight[1:4], "big")
        if len(flight) < max(size, 5):
            return None
        message = flight[:size]
        fields = hello._Cursor(message[6:])
        random, session_id = fields.take(32), fields.vector(1)
        fields.vector(2)
        fields.vector(1)
        extensions = {} if fields.ended else dict(hello._pairs(fields.vector(2)))
        shares = dict(hello._pairs(hello._inner(extensions, _KEY_SHARE, 2)))
        return cls(message, random, session_id, hello.client_offer(sent), shares)
