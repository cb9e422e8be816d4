"""Find the key-exchange group of a handshake in the messages from the server.

These messages are not encrypted, but the handshake authenticates them: after a successful handshake, the values parsed
here are the values that the TLS library has used. The group is therefore known for every library, even if the library
does not report it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .algorithms import group_name
from .hello import HANDSHAKE_RECORD, VERSIONS, server_choice

if TYPE_CHECKING:
    from typing_extensions import Buffer


_FIRST_BYTES = (b"", b"\x15", b"\x16")
_MAJOR_VERSION = (b"", b"\x03")
_LONGEST_RECORD = (1 << 14) + 2048  # RFC 5246 §6.2.3
_RECORD_HEADER, _MESSAGE_HEADER = 5, 4
_CHANGE_CIPHER_SPEC = 20
_SERVER_HELLO, _CERTIFICATE, _SERVER_KEY_EXCHANGE, _SERVER_HELLO_DONE = 2, 11, 12, 14
_NAMED_CURVE = 3  # RFC 8422 §5.4
_TLS13 = 0x0304
_LONGEST_MESSAGE = 1 << 16  # the limit for parsed messages; longer ones are certificates, which are skipped
_KEPT = 1 << 17  # bytes that are kept before they are parsed
_TAIL = 64  # bytes that are kept of the start (for a banner) and of the end (for an alert)
_FATAL_ALERT = re.compile(rb"\x15\x03[\x00-\x04]\x00\x02\x02(.)", re.DOTALL)  # a separate record (RFC 8446 §6)
_ECDHE_CHACHA20 = (0xCCA8, 0xCCA9, 0xCCAC)  # RFC 7905 §2, including ECDHE-PSK


class KeyExchangeObserver:
    """A parser of the server's messages. It keeps the bytes, and parses them when a property is read.

    Attributes:
        head: The first bytes, for the error about a server that does not use TLS.
    """

    def __init__(self) -> None:
        self._group: str | None = None
        self._retried = self._certificate_sent = False
        self._version = 0
        self._tail = b""
        self.head = b""
        self._finished = False
        self._records = bytearray()
        self._messages = bytearray()
        self._passing = 0
        self._cipher = 0

    @property
    def group(self) -> str | None:
        """The group by IANA's name; `None` until it is known, and for RSA key transport."""
        self._read()
        return self._group

    @property
    def version(self) -> str:
        """The version of TLS that the server selected (``TLSv1.3``), empty until it is known."""
        self._read()
        return VERSIONS.get(self._version, "")

    @property
    def may_be_tls(self) -> bool:
        """False if the first bytes are not the start of an alert or handshake record."""
        head = self.head
        if head[:1] not in _FIRST_BYTES or head[1:2] not in _MAJOR_VERSION:
            return False
        return len(head) < _RECORD_HEADER or 0 < int.from_bytes(head[3:5], "big") <= _LONGEST_RECORD

    @property
    def alert(self) -> int | None:
        """The number of the unencrypted fatal alert that ended the handshake, or `None`."""
        found = _FATAL_ALERT.search(self._tail)
        return found[1][0] if found is not None else None

    @property
    def retried(self) -> bool:
        """True if the server has requested another ClientHello (HelloRetryRequest), which costs a round trip."""
        self._read()
        return self._retried

    @property
    def certificate_sent(self) -> bool:
        """True if the server has sent its certificate in TLS 1.2."""
        self._read()
        return self._certificate_sent

    def receive(self, data: Buffer) -> None:
        """Process ciphertext from the network. The TLS library reports data that is not TLS."""
        view = memoryview(data)
        if len(self.head) < _TAIL:
            self.head = (self.head + bytes(view[:_TAIL]))[:_TAIL]
        self._tail = (self._tail + bytes(view[-_TAIL:]))[-_TAIL:]
        if not self._finished:
            self._records += view
            if len(self._records) > _KEPT:
                self._read()

    def _read(self) -> None:
        if self._finished:
            return
        try:
            self._read_records()
        except ValueError:
            self._finish()

    def _read_records(self) -> None:
        records = self._records
        while not self._finished and len(records) >= _RECORD_HEADER:
            kind, end = records[0], _RECORD_HEADER + int.from_bytes(records[3:5], "big")
            if kind not in (HANDSHAKE_RECORD, _CHANGE_CIPHER_SPEC):
                self._finish()
                return
            if len(records) < end:
                return
            if kind == HANDSHAKE_RECORD:
                self._messages += records[_RECORD_HEADER:end]
                self._read_messages()
            del records[:end]

    def _read_messages(self) -> None:
        messages = self._messages
        while not self._finished:
            passed = min(self._passing, len(messages))
            del messages[:passed]
            self._passing -= passed
            if self._passing or len(messages) < _MESSAGE_HEADER:
                return
            kind, size = messages[0], int.from_bytes(messages[1:4], "big")
            self._certificate_sent = self._certificate_sent or kind == _CERTIFICATE
            if kind not in (_SERVER_HELLO, _SERVER_KEY_EXCHANGE, _SERVER_HELLO_DONE) or size > _LONGEST_MESSAGE:
                self._passing = _MESSAGE_HEADER + size
                continue
            end = _MESSAGE_HEADER + size
            if len(messages) < end:
                return
            self._read_message(kind, bytes(messages[_MESSAGE_HEADER:end]))
            del messages[:end]

    def _read_message(self, kind: int, body: bytes) -> None:
        if kind == _SERVER_HELLO:
            choice = server_choice(body)
            self._cipher, self._version = choice.cipher, choice.version
            self._retried = self._retried or choice.retry
            if choice.version >= _TLS13 and not choice.retry:
                self._finish(choice.group)
        elif kind == _SERVER_KEY_EXCHANGE:
            ecdhe = self._cipher >> 8 == 0xC0 or self._cipher in _ECDHE_CHACHA20
            named = ecdhe and len(body) > 3 and body[0] == _NAMED_CURVE
            self._finish(group_name(int.from_bytes(body[1:3], "big")) if named else None)
        else:
            self._finish()

    def _finish(self, group: str | None = None) -> None:
        self._group = group
        self._finished = True
        self._records, self._messages = bytearray(), bytearray()
