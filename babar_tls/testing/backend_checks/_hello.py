"""The content of a ClientHello (RFC 8446 §4.1.2), read from the bytes on the wire."""

from __future__ import annotations

from dataclasses import dataclass, field

_HANDSHAKE = 22
_SERVER_NAME, _GROUPS, _ALPN, _VERSIONS, _KEY_SHARE = 0, 10, 16, 43, 51


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


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def take(self, count: int) -> bytes:
        taken, self.data = self.data[:count], self.data[count:]
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        return self.take(self.number(size))

    def list(self, size: int) -> list[bytes]:
        inner = _Reader(self.vector(size))
        return [inner.take(2) for _ in range(len(inner.data) // 2)]


@dataclass(frozen=True)
class ClientHello:
    """The first message of a handshake.

    Attributes:
        message: The whole of it, with its header.
        random: The client's random.
        session_id: To be echoed.
        ciphers: Cipher suites, in order.
        server_name: SNI (RFC 6066 §3), `None` if there is none.
        alpn: Protocols (RFC 7301), in order.
        versions: Of ``supported_versions``; empty from a client that offers no TLS 1.3.
        groups: Of ``supported_groups``, in order.
        shares: Public keys by group.
    """

    message: bytes
    random: bytes
    session_id: bytes
    ciphers: list[int]
    server_name: str | None = None
    alpn: list[str] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)
    groups: list[int] = field(default_factory=list)
    shares: dict[int, bytes] = field(default_factory=dict)

    @classmethod
    def parse(cls, sent: bytes) -> ClientHello | None:
        """Return the ClientHello at the start of what a client has sent; `None` while it is not complete."""
        flight = b"".join(body for kind, body in records(sent) if kind == _HANDSHAKE)
        if len(flight) < 4 or len(flight) < 4 + int.from_bytes(flight[1:4], "big"):
            return None
        message = flight[: 4 + int.from_bytes(flight[1:4], "big")]
        reader = _Reader(message[6:])
        random, session_id = reader.take(32), reader.vector(1)
        hello = cls(message, random, session_id, [int.from_bytes(item, "big") for item in reader.list(2)])
        reader.vector(1)
        extensions = _Reader(reader.vector(2))
        server_name = None
        while extensions.data:
            kind, body = extensions.number(2), _Reader(extensions.vector(2))
            if kind == _SERVER_NAME:
                body.take(3)
                server_name = body.vector(2).decode("latin-1")
            elif kind == _ALPN:
                names = _Reader(body.vector(2))
                while names.data:
                    hello.alpn.append(names.vector(1).decode("latin-1"))
            elif kind == _VERSIONS:
                hello.versions.extend(int.from_bytes(item, "big") for item in body.list(1))
            elif kind == _GROUPS:
                hello.groups.extend(int.from_bytes(item, "big") for item in body.list(2))
            elif kind == _KEY_SHARE:
                shares = _Reader(body.vector(2))
                while shares.data:
                    group = shares.number(2)
                    hello.shares[group] = shares.vector(2)
        return cls(**{**hello.__dict__, "server_name": server_name})
