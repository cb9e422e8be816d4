"""A driver without input and output: answers of the server come from a list, and sent messages are recorded."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

from babar_tls.crypto import scram_keys
from babar_tls.errors import ChannelBindingUnsupported, Error
from babar_tls.protocol.messages import frame
from babar_tls.protocol.requests import Connect, Derive, Fill, Receive, Send, StartTls
from babar_tls.protocol.scram import ScramServer
from babar_tls.tls.contract import TlsFacts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from babar_tls.backends import TrustedRoots
    from babar_tls.config.host import Host
    from babar_tls.protocol.requests import Exchange, ScramKeys

#: One answer of the server: bytes, a function of the last sent message, or a network error.
Answer: TypeAlias = "bytes | Error | Callable[[bytes], bytes]"

SALT = b"\x01\x02\x03\x04" * 4
NONCE = "3rfcNHYJY1ZVvWVs7j"


# Certificates ------------------------------------------------------------------------------------------------------


def der(tag: int, *contents: bytes) -> bytes:
    """Encode a DER element."""
    content = b"".join(contents)
    if len(content) < 0x80:
        return bytes([tag, len(content)]) + content
    length = len(content).to_bytes((len(content).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def oid(dotted: str) -> bytes:
    """Encode an object identifier in DER."""
    first, second, *rest = map(int, dotted.split("."))
    content = bytearray()
    for arc in (first * 40 + second, *rest):
        digits = [arc & 0x7F]
        while arc := arc >> 7:
            digits.append(arc & 0x7F | 0x80)
        content += bytes(reversed(digits))
    return der(0x06, bytes(content))


def certificate(signature: str, parameters: bytes = b"", *, tbs: bytes = b"\x30\x00") -> bytes:
    """Return the outer structure of a certificate with this signature algorithm."""
    return der(0x30, tbs, der(0x30, oid(signature), parameters), der(0x03, b"\0signature"))


ECDSA_SHA384 = certificate("1.2.840.10045.4.3.3")
ED25519 = certificate("1.3.101.112")


@dataclass
class Facts:
    """The facts that a TLS backend reports."""

    version: str = "TLSv1.3"
    cipher: str = "TLS_AES_256_GCM_SHA384"
    group: str | None = "x25519"
    alpn: str | None = "postgresql"
    peer_certificate: bytes = ECDSA_SHA384
    certificate_requested: bool | None = False
    possession_proven: bool = True
    trusted_roots: TrustedRoots | None = None
    exported: bytes | None = b"E" * 32
    finished: bytes | None = b"F" * 12

    def to_facts(self, binding_type: str | None = None) -> TlsFacts:
        """Return the facts that the driver reports for a request with this binding type."""
        binding_data: bytes | ChannelBindingUnsupported | None = None
        if binding_type == "tls-exporter":
            binding_data = self.exported or ChannelBindingUnsupported("no exporter")
        if binding_type == "tls-unique":
            binding_data = self.finished or ChannelBindingUnsupported("no Finished")
        return TlsFacts(
            version=self.version,
            cipher=self.cipher,
            alpn=self.alpn,
            group=self.group,
            peer_chain=(self.peer_certificate,),
            possession_proven=self.possession_proven,
            certificate_requested=self.certificate_requested,
            trusted_roots=self.trusted_roots,
            binding_data=binding_data,
        )


# Messages of the server --------------------------------------------------------------------------------------------


def request(code: int, body: bytes = b"") -> bytes:
    """Return an authentication request."""
    return frame(b"R", struct.pack("!I", code) + body)


def sasl(*mechanisms: str) -> bytes:
    """Return an AuthenticationSASL message."""
    return request(10, b"".join(name.encode() + b"\0" for name in mechanisms) + b"\0")


def error(code: str, message: str = "no", severity: str = "FATAL", kind: bytes = b"E", **more: str) -> bytes:
    """Return an ErrorResponse or NoticeResponse; `more` are additional fields by code."""
    fields = {"S": severity, "V": severity, "C": code, "M": message, **more}
    return frame(kind, b"".join(f"{key}{value}\0".encode() for key, value in fields.items()) + b"\0")


def status(name: str, value: str) -> bytes:
    """Return a ParameterStatus message."""
    return frame(b"S", f"{name}\0{value}\0".encode())


OK = request(0)
CLEARTEXT = request(3)
MD5 = request(5, b"salt")
BOTH = ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256")
READY = frame(b"Z", b"I")
WELCOME = OK + status("server_version", "17.10") + frame(b"K", struct.pack("!I", 4711) + b"key!") + READY


class ScramPeer:
    """The server's side of SCRAM, with answers for a script: `offer`, `first`, `final`."""

    def __init__(
        self,
        password: str = "pencil",  # noqa: S107 - the password of a simulated server
        *,
        offered: tuple[str, ...] = BOTH,
        bindings: dict[str, bytes] | None = None,
        iterations: int = 1,
        salt: bytes = SALT,
    ) -> None:
        self.offer = sasl(*offered)
        self.client_first = b""
        self.client_final = b""
        self.mechanism = ""
        self._server = ScramServer(scram_keys(password, salt, iterations), salt, iterations, channel_binding=bindings)

    def challenge(self, sent: bytes) -> bytes:
        """Return the server-first-message for a SASLInitialResponse, which may follow a StartupMessage."""
        if not sent.startswith(b"p"):
            sent = sent[int.from_bytes(sent[:4], "big") :]
        name, _, rest = sent[5:].partition(b"\0")
        self.mechanism = name.decode()
        self.client_first = rest[4:]
        return self._server.server_first_message(self.mechanism, self.client_first)

    def proof(self, sent: bytes) -> bytes:
        """Return the server-final-message for a SASLResponse."""
        self.client_final = sent[5:]
        return self._server.server_final_message(self.client_final)

    def first(self, sent: bytes) -> bytes:
        return request(11, self.challenge(sent))

    def final(self, sent: bytes) -> bytes:
        return request(12, self.proof(sent))

    def welcome(self, sent: bytes) -> bytes:
        return self.final(sent) + WELCOME

    @property
    def script(self) -> list[Answer]:
        """The answers of a login, from AuthenticationSASL to ReadyForQuery."""
        return [self.offer, self.first, self.welcome]


# The driver --------------------------------------------------------------------------------------------------------


@dataclass
class Driver:
    """Performs requests with scripted answers.

    Attributes:
        conversations: The answers of the server, one list for each connection.
        facts: The outcome of each TLS handshake; the last one is repeated.
        refused: Errors of `Connect`, by the number of the connection.
        connects: The endpoints of all connections.
        sent: The data of each `Send`.
        sent_plain: The data that was sent without TLS.
        log: The class name of each request, in order.
        warnings: The warnings of all `Send` requests.
    """

    conversations: list[list[Answer]]
    facts: Facts | Error | list[Facts | Error] = field(default_factory=Facts)
    refused: dict[int, Error] = field(default_factory=dict)
    connects: list[Host] = field(default_factory=list)
    sent: list[bytes] = field(default_factory=list)
    sent_plain: list[bytes] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    tls: list[StartTls] = field(default_factory=list)
    derived: list[Derive] = field(default_factory=list)
    items: list[bytes] = field(default_factory=list)
    batches: list[list[bytes]] = field(default_factory=list)
    _answers: list[Answer] = field(default_factory=list)
    _encrypted: bool = False

    def run(self, exchange: Exchange[Any]) -> Any:
        """Run an exchange to its end; return its result or raise its error."""
        try:
            item = next(exchange)
            while True:
                if isinstance(item, list):
                    self.batches.append(item)
                    self.items += item
                    item = exchange.send(None)
                    continue
                try:
                    result = self.perform(item)
                except Error as failure:
                    item = exchange.throw(failure)
                else:
                    item = exchange.send(result)
        except StopIteration as stop:
            return stop.value

    def perform(self, item: object) -> Any:
        self.log.append(type(item).__name__)
        if isinstance(item, Send):
            self.sent.append(item.data)
            if not self._encrypted:
                self.sent_plain.append(item.data)
            if item.warning is not None:
                self.warnings.append(item.warning)
            return None
        if isinstance(item, Receive):
            return self._receive()
        if isinstance(item, Fill):
            return self._fill(item)
        if isinstance(item, Connect):
            return self._connect(item)
        if isinstance(item, StartTls):
            return self._start_tls(item)
        if isinstance(item, Derive):
            return self._derive(item)
        raise AssertionError(f"{item!r} is not a request")

    @property
    def waits(self) -> int:
        """The number of requests that waited for bytes."""
        return self.log.count("Receive") + self.log.count("Fill")

    @property
    def all_sent(self) -> bytes:
        return b"".join(self.sent)

    def _connect(self, item: Connect) -> None:
        number = len(self.connects)
        self.connects.append(item.endpoint)
        self._encrypted = False
        if number in self.refused:
            raise self.refused[number]
        self._answers = list(self.conversations[number]) if number < len(self.conversations) else []

    def _start_tls(self, item: StartTls) -> TlsFacts:
        facts = self.facts
        if isinstance(facts, list):
            facts = facts[min(len(self.tls), len(facts) - 1)]
        self.tls.append(item)
        if isinstance(facts, Error):
            raise facts
        self._encrypted = True
        return facts.to_facts(item.binding_type)

    def _receive(self) -> bytes:
        if not self._answers:
            return b""
        answer = self._answers.pop(0)
        if isinstance(answer, Error):
            raise answer
        return answer if isinstance(answer, bytes) else answer(self.sent[-1])

    def _fill(self, item: Fill) -> int:
        data = self._receive()
        count = put(item, data)
        if data[count:]:
            self._answers.insert(0, data[count:])
        return count

    def _derive(self, item: Derive) -> ScramKeys:
        self.derived.append(item)
        return scram_keys(item.password, item.salt, item.iterations)


def put(item: Fill, data: bytes) -> int:
    """Answer `item` with as many of these bytes as fit."""
    space = item.inbox.space()
    count = min(len(space), len(data))
    space[:count] = data[:count]
    item.inbox.received(count)
    return count


def talk(*answers: Answer, facts: Facts | Error | list[Facts | Error] | None = None) -> Driver:
    """Return a driver with one connection whose server accepts TLS."""
    return Driver([[b"S", *answers]], facts=Facts() if facts is None else facts)


def split(data: bytes, at: Iterable[int]) -> list[bytes]:
    """Cut `data` at these positions; no piece is empty."""
    edges = [0, *sorted({position for position in at if 0 < position < len(data)}), len(data)]
    return [data[a:b] for a, b in pairwise(edges) if a < b]
