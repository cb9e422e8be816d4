"""Read the hellos of a TLS handshake, which are not encrypted (RFC 8446 §4.1, RFC 5246 §7.4.1).

`ClientOffer` is read from the first flight of a backend, so that a table of backends shows what each offers.
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
_CUT_SHORT = "a TLS hello ends in the middle of a field"
_NUMBER, _TWO_NUMBERS = struct.Struct("!H"), struct.Struct("!HH")
_NO_CIPHER = (0x00FF, 0x5600)  # RFC 5746 §3.3, RFC 7507: signals in the place of suites


@dataclass(frozen=True)
class ClientOffer:
    """What a ClientHello offers.

    Attributes:
        versions: Of TLS, newest first.
        groups: Key-exchange groups in order of preference, by IANA's names.
        key_shares: The groups that shares of are in it already.
        ciphers: Code points of the cipher suites.
        alpn: Protocols.
        server_name: SNI.
    """

    versions: tuple[str, ...]
    groups: tuple[str, ...]
    key_shares: tuple[str, ...]
    ciphers: tuple[int, ...]
    alpn: tuple[str, ...]
    server_name: str | None


class ServerChoice(NamedTuple):
    """What a ServerHello chooses; the group is there in TLS 1.3 alone."""

    retry: bool
    version: int
    cipher: int
    group: str | None


class _Cursor:
    """Reads fields from the front of some bytes; `ValueError` where they end too early."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        if self._at + count > len(self._data):
            raise ValueError(_CUT_SHORT)
        self._at += count
        return self._data[self._at - count : self._at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        """A field behind its own length of `size` bytes."""
        return self.take(self.number(size))

    @property
    def ended(self) -> bool:
        return self._at == len(self._data)


def client_offer(flight: bytes) -> ClientOffer:
    """Read the ClientHello at the front of a client's first flight.

    Raises:
        ValueError: It is none, or is damaged.
    """
    message = _Cursor(_handshake_bytes(flight))
    if message.take(1) != _CLIENT_HELLO:
        raise ValueError("no ClientHello")
    body = _Cursor(message.vector(3))
    version = body.number(2)
    body.take(32)
    body.vector(1)
    ciphers = tuple(code for code in _numbers(body.vector(2)) if code not in _NO_CIPHER and not _is_grease(code))
    body.vector(1)
    extensions = {} if body.ended else _pairs(body.vector(2))
    versions = _numbers(_inner(extensions, _SUPPORTED_VERSIONS, 1)) or (version,)
    names = _inner(extensions, _SERVER_NAME, 2)
    return ClientOffer(
        versions=tuple(VERSIONS[code] for code in versions if code in VERSIONS),
        groups=_names(_numbers(_inner(extensions, _SUPPORTED_GROUPS, 2))),
        key_shares=_names(_pairs(_inner(extensions, _KEY_SHARE, 2))),
        ciphers=ciphers,
        alpn=tuple(_strings(_inner(extensions, _ALPN, 2))),
        server_name=names[3:].decode("ascii", "replace") if names else None,
    )


def server_choice(body: bytes) -> ServerChoice:
    """Read the body of a ServerHello or HelloRetryRequest.

    Raises:
        ValueError: It is damaged.
    """
    unpack, end = _TWO_NUMBERS.unpack_from, len(body)
    group = None
    try:
        version, retry = _NUMBER.unpack_from(body)[0], body[2:34] == _RETRY
        at = 35 + body[34]  # behind the session ID
        cipher = _NUMBER.unpack_from(body, at)[0]
        at += 3  # and the compression method
        if at != end:
            length = _NUMBER.unpack_from(body, at)[0]
            at += 2
            if at + length > end:
                raise ValueError(_CUT_SHORT)
            end = at + length
        while at < end:
            kind, length = unpack(body, at)
            at += 4
            if at + length > end:
                raise ValueError(_CUT_SHORT)
            if kind == _SUPPORTED_VERSIONS and length == 2:
                version = _NUMBER.unpack_from(body, at)[0]
            elif kind == _KEY_SHARE and length >= 2:
                group = group_name(_NUMBER.unpack_from(body, at)[0])
            at += length
    except (struct.error, IndexError):
        raise ValueError(_CUT_SHORT) from None
    return ServerChoice(retry, version, cipher, group)


def _handshake_bytes(flight: bytes) -> bytes:
    """The content of the handshake records at the front: a long ClientHello may fill several."""
    content = bytearray()
    while len(flight) > _RECORD_HEADER and flight[0] == HANDSHAKE_RECORD:
        end = _RECORD_HEADER + int.from_bytes(flight[3:5], "big")
        content += flight[_RECORD_HEADER:end]
        flight = flight[end:]
    return bytes(content)


def _pairs(data: bytes) -> dict[int, bytes]:
    """Read extensions, or key shares, which have the same form: a number and a vector of bytes."""
    fields = _Cursor(data)
    found = {}
    while not fields.ended:
        kind = fields.number(2)
        found[kind] = fields.vector(2)
    return found


def _inner(extensions: dict[int, bytes], kind: int, size: int) -> bytes:
    """The list in an extension, behind its own length; empty where the extension is not there."""
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
    """RFC 8701: values that mean nothing, sent so that servers get used to not knowing everything."""
    return code & 0x0F0F == 0x0A0A and code >> 8 == code & 0xFF
