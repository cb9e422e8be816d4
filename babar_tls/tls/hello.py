"""Parse the ClientHello and ServerHello of a TLS handshake (RFC 8446 §4.1, RFC 5246 §7.4.1).

They are not encrypted. `client_offer` parses the first flight of a backend to determine its offer.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from .algorithms import group_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


HANDSHAKE_RECORD = 22
_RECORD_HEADER = 5
_CLIENT_HELLO = b"\1"
_SERVER_NAME, _SUPPORTED_GROUPS, _ALPN, _SUPPORTED_VERSIONS, _KEY_SHARE = 0, 10, 16, 43, 51
#: Versions of TLS by their numbers on the wire.
VERSIONS = {0x0301: "TLSv1", 0x0302: "TLSv1.1", 0x0303: "TLSv1.2", 0x0304: "TLSv1.3"}
#: RFC 8446 §4.1.3: the random of a ServerHello that is a HelloRetryRequest.
_RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
_TRUNCATED = "truncated TLS hello"
_NUMBER, _TWO_NUMBERS = struct.Struct("!H"), struct.Struct("!HH")
_SIGNALS = (0x00FF, 0x5600)  # signaling values in the list of suites (RFC 5746 §3.3, RFC 7507)


@dataclass(frozen=True)
class ClientOffer:
    """The offer in a ClientHello.

    Attributes:
        versions: TLS versions, newest first.
        groups: Key-exchange groups in order of preference, by IANA's names.
        key_shares: The groups of the key shares.
        ciphers: The code points of the cipher suites.
        alpn: The application protocols.
        server_name: The name for SNI.
    """

    versions: tuple[str, ...]
    groups: tuple[str, ...]
    key_shares: tuple[str, ...]
    ciphers: tuple[int, ...]
    alpn: tuple[str, ...]
    server_name: str | None


class ServerChoice(NamedTuple):
    """The selection in a ServerHello. It contains the group only in TLS 1.3."""

    retry: bool
    version: int
    cipher: int
    group: str | None


class _Cursor:
    """A reader of consecutive fields. It raises `ValueError` if the data is truncated."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        if self._at + count > len(self._data):
            raise ValueError(_TRUNCATED)
        self._at += count
        return self._data[self._at - count : self._at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        """Return a field that follows its length, which has `size` bytes."""
        return self.take(self.number(size))

    @property
    def ended(self) -> bool:
        return self._at == len(self._data)


def client_offer(flight: bytes) -> ClientOffer:
    """Parse the ClientHello at the start of a client's first flight.

    Raises:
        ValueError: The flight does not begin with a ClientHello, or the ClientHello is damaged.
    """
    message = _Cursor(_handshake_bytes(flight))
    if message.take(1) != _CLIENT_HELLO:
        raise ValueError("not a ClientHello")
    body = _Cursor(message.vector(3))
    version = body.number(2)
    body.take(32)
    body.vector(1)
    ciphers = tuple(code for code in _numbers(body.vector(2)) if code not in _SIGNALS and not _is_grease(code))
    body.vector(1)
    extensions = {} if body.ended else dict(_pairs(body.vector(2)))
    versions = _numbers(_inner(extensions, _SUPPORTED_VERSIONS, 1)) or (version,)
    names = _inner(extensions, _SERVER_NAME, 2)
    return ClientOffer(
        versions=tuple(VERSIONS[code] for code in versions if code in VERSIONS),
        groups=_names(_numbers(_inner(extensions, _SUPPORTED_GROUPS, 2))),
        key_shares=_names(group for group, _ in _pairs(_inner(extensions, _KEY_SHARE, 2))),
        ciphers=ciphers,
        alpn=tuple(_strings(_inner(extensions, _ALPN, 2))),
        server_name=names[3:].decode("ascii", "replace") if names else None,
    )


def server_choice(body: bytes) -> ServerChoice:
    """Parse the body of a ServerHello or HelloRetryRequest.

    Raises:
        ValueError: The message is damaged.
    """
    unpack, end = _TWO_NUMBERS.unpack_from, len(body)
    group = None
    try:
        version, retry = _NUMBER.unpack_from(body)[0], body[2:34] == _RETRY
        at = 35 + body[34]  # after the session ID
        cipher = _NUMBER.unpack_from(body, at)[0]
        at += 3  # after the compression method
        if at != end:
            length = _NUMBER.unpack_from(body, at)[0]
            at += 2
            if at + length > end:
                raise ValueError(_TRUNCATED)
            end = at + length
        while at < end:
            kind, length = unpack(body, at)
            at += 4
            if at + length > end:
                raise ValueError(_TRUNCATED)
            if kind == _SUPPORTED_VERSIONS and length == 2:
                version = _NUMBER.unpack_from(body, at)[0]
            elif kind == _KEY_SHARE and length >= 2:
                group = group_name(_NUMBER.unpack_from(body, at)[0])
            at += length
    except (struct.error, IndexError):
        raise ValueError(_TRUNCATED) from None
    return ServerChoice(retry, version, cipher, group)


def _handshake_bytes(flight: bytes) -> bytes:
    """Return the content of the handshake records at the start. A long ClientHello consists of several records."""
    content = bytearray()
    while len(flight) > _RECORD_HEADER and flight[0] == HANDSHAKE_RECORD:
        end = _RECORD_HEADER + int.from_bytes(flight[3:5], "big")
        content += flight[_RECORD_HEADER:end]
        flight = flight[end:]
    return bytes(content)


def _pairs(data: bytes) -> list[tuple[int, bytes]]:
    """Read extensions, or key shares, which have the same form: a number and a vector of bytes."""
    fields = _Cursor(data)
    found = []
    while not fields.ended:
        found.append((fields.number(2), fields.vector(2)))
    return found


def _inner(extensions: dict[int, bytes], kind: int, size: int) -> bytes:
    """Return the list in an extension, without its length; empty if the extension is missing."""
    data = extensions.get(kind)
    return _Cursor(data).vector(size) if data else b""


def _numbers(data: bytes) -> tuple[int, ...]:
    return tuple(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2))


def _strings(data: bytes) -> Iterator[str]:
    fields = _Cursor(data)
    while not fields.ended:
        yield fields.vector(1).decode("ascii", "replace")


def _names(codes: Iterable[int]) -> tuple[str, ...]:
    return tuple(group_name(code) for code in codes if not _is_grease(code))


def _is_grease(code: int) -> bool:
    """Return True for a reserved value that tests whether servers ignore unknown values (RFC 8701)."""
    return code & 0x0F0F == 0x0A0A and code >> 8 == code & 0xFF
