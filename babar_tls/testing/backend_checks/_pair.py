"""A backend's client and a server of the standard library, connected in memory."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

from babar_tls.backends import TlsBackend, TlsFacts, TlsParameters, get_backend
from babar_tls.testing._tls_contexts import server_context
from babar_tls.testing.backend_checks._hello import ClientHello
from babar_tls.tls.connection import TlsConnection

if TYPE_CHECKING:
    from collections.abc import Callable

    from babar_tls.testing.certificates import ServerCertificate
    from babar_tls.tls.hello import ClientOffer


NAME = "db.example.com"
TLS_VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}
_MAX_ROUNDS = 50  # a handshake has two or three


def only(version: str) -> dict[str, Any]:
    """Return the options of `server_context` that allow only one version of TLS."""
    return {"minimum_version": TLS_VERSIONS[version], "maximum_version": TLS_VERSIONS[version]}


def facts_of(connection: TlsConnection) -> TlsFacts:
    """Return the facts of a connection whose handshake is complete."""
    assert connection.facts is not None, "the handshake is not complete"
    return connection.facts


def read_once(connection: TlsConnection) -> bytes | None:
    """Return what one call of read_into() returns: data, nothing at close_notify, or None if there are no data."""
    buffer = memoryview(bytearray(100))
    count = connection.read_into(buffer)
    return None if count is None else bytes(buffer[:count])


class Pair:
    """Both ends of one connection.

    Args:
        backend: The backend.
        parameters: The client's parameters.
        hostname: The name to verify.
        certificate: The server's certificate.
        fragment: The number of bytes that the client receives at a time, or a function that returns it.
        tamper: A function that changes the server's bytes on the way.
        context: The server's context, instead of a new one from `certificate` and `options`.
        binding_type: See `TlsConnection`.
        options: The options of `server_context`.

    Attributes:
        client: The client's connection.
        server: The standard library's side.
        server_error: The error that ended the server's handshake.
        sent: Every byte that the client has sent.
    """

    def __init__(
        self,
        backend: str | TlsBackend,
        parameters: TlsParameters,
        hostname: str | None,
        certificate: ServerCertificate,
        *,
        fragment: int | Callable[[], int] | None = None,
        tamper: Callable[[bytes], bytes] = bytes,
        context: ssl.SSLContext | None = None,
        binding_type: str | None = None,
        **options: Any,
    ) -> None:
        self.server_error: ssl.SSLError | None = None
        self.sent = bytearray()
        self._fragment = fragment
        self._tamper = tamper
        self._to_server, self._from_server = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = context or server_context(certificate, **options)
        self.server = context.wrap_bio(self._to_server, self._from_server, server_side=True)
        self.client: TlsConnection = TlsConnection(get_backend(backend), parameters, hostname, binding_type)
        self._client_done = self._server_done = False

    @property
    def facts(self) -> TlsFacts:
        """The client's facts of the connection."""
        return facts_of(self.client)

    @property
    def hello(self) -> ClientHello:
        """The client's first message."""
        hello = ClientHello.parse(bytes(self.sent))
        assert hello is not None, "the client has not sent a whole ClientHello"
        return hello

    @property
    def offer(self) -> ClientOffer:
        """What the client's first message offers."""
        return self.hello.offer

    def handshake(self) -> Pair:
        """Run the handshake to its end on both sides; errors of the client's side propagate."""
        for _ in range(_MAX_ROUNDS):
            if not self._client_done:
                self._step()
            moved = self.carry()
            self._serve()
            if not (self.carry() or moved or self._client_done):
                self.client.receive_eof()  # neither side sends: the server has ended the connection
                self._step()
            if self._client_done and (self._server_done or self.server_error is not None):
                return self
        raise AssertionError(f"the handshake was not complete after {_MAX_ROUNDS} rounds")

    def first_flight(self) -> bytes:
        """Return the server's answer to the ClientHello, which the client does not receive."""
        self._step()
        return self._from_server.read()

    def _step(self) -> None:
        try:
            self._client_done = self.client.do_handshake()
        finally:
            self._send()
            self._serve()

    def _send(self) -> bytes:
        data = self.client.data_to_send()
        self.sent += data
        self._to_server.write(data)
        return data

    def _serve(self) -> None:
        if self._server_done or self.server_error is not None:
            return
        try:
            self.server.do_handshake()
            self._server_done = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as exc:
            self.server_error = exc

    def carry(self) -> bool:
        """Move ciphertext between the two ends. Return True if there was any."""
        up, down = self._send(), self._tamper(self._from_server.read())
        rest = down
        while rest:
            step = self._fragment() if callable(self._fragment) else self._fragment or len(rest)
            self.client.receive_data(rest[:step])
            rest = rest[step:]
            if self._fragment and not self._client_done:
                self._step()
        return bool(up or down)

    def server_record(self, data: bytes) -> bytes:
        """Return data from the server, encrypted, which the client does not receive."""
        self.server.write(data)
        return self._from_server.read()

    def server_write(self, data: bytes) -> None:
        """Send data from the server."""
        self.server.write(data)
        self.carry()

    def server_read(self) -> bytes:
        """Return what the server has received; nothing if its handshake has failed."""
        self.carry()
        self._serve()
        received = bytearray()
        try:
            while self.server_error is None and (chunk := self.server.read(1 << 16)):
                received += chunk
        except ssl.SSLWantReadError:
            pass
        return bytes(received)

    def read(self, size: int = 1 << 16) -> bytes:
        """Return what the client can read now."""
        received = bytearray()
        buffer = memoryview(bytearray(size))
        while count := self.client.read_into(buffer):
            received += buffer[:count]
        return bytes(received)
