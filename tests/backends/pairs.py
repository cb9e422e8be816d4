"""An engine's client and the standard library's server, joined in memory."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

from babar_tls.backends import TlsBackend, TlsParameters, TlsStream, get_backend
from babar_tls.testing._wire import server_context

if TYPE_CHECKING:
    from collections.abc import Callable

    from babar_tls.testing import ServerCertificate

TLS_VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}


def only(version: str) -> dict[str, Any]:
    """A server's options that leave one version of TLS."""
    return {"minimum_version": TLS_VERSIONS[version], "maximum_version": TLS_VERSIONS[version]}


def _whole(data: bytes) -> bytes:
    return data


class Pair:
    """Both ends of one connection.

    Attributes:
        client: The engine's stream.
        server: The standard library's side.
        server_name: What the client sent as SNI.
        server_error: What ended the server's handshake.
    """

    def __init__(
        self,
        backend: str | TlsBackend,
        parameters: TlsParameters,
        hostname: str | None,
        certificate: ServerCertificate,
        *,
        fragment: int | None = None,
        tamper: Callable[[bytes], bytes] = _whole,
        **options: Any,
    ) -> None:
        self.server_name: str | None = None
        self.server_error: ssl.SSLError | None = None
        self._fragment = fragment
        self._tamper = tamper
        self._to_server, self._from_server = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = server_context(certificate, **options)
        context.sni_callback = self._note_server_name
        self.server = context.wrap_bio(self._to_server, self._from_server, server_side=True)
        self.client: TlsStream = get_backend(backend).wrap(parameters, hostname)
        self._client_done = self._server_done = False

    def _note_server_name(self, _server: object, name: str | None, _context: object) -> None:
        self.server_name = name

    def handshake(self) -> Pair:
        """Run it to its end on both sides; raises what the client's side raises."""
        while not (self._client_done and self._server_done):
            if not self._client_done:
                self._step()
            moved = self.carry()
            self._serve()
            if not (self.carry() or moved or self._client_done):
                self.client.receive_eof()  # nobody has anything to say: the server has given up
                self._step()
            if self.server_error is not None and self._client_done:
                break
        return self

    def _step(self) -> None:
        try:
            self._client_done = self.client.do_handshake()
        finally:
            self._to_server.write(self.client.data_to_send())
            self._serve()

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
        """Move what is waiting between the two; was there anything?"""
        up, down = self.client.data_to_send(), self._tamper(self._from_server.read())
        self._to_server.write(up)
        step = self._fragment or max(len(down), 1)
        for start in range(0, len(down), step):
            self.client.receive_data(down[start : start + step])
            if self._fragment and not self._client_done:
                self._step()
        return bool(up or down)

    def say(self, data: bytes) -> None:
        """The server sends."""
        self.server.write(data)
        self.carry()

    def hear(self) -> bytes:
        """What the server has received."""
        self.carry()
        heard = bytearray()
        try:
            while chunk := self.server.read(1 << 16):
                heard += chunk
        except ssl.SSLWantReadError:
            pass
        return bytes(heard)

    def hear_or_nothing(self) -> bytes:
        """The same of a server whose handshake may have failed."""
        try:
            return self.hear()
        except ssl.SSLError:
            return b""

    def read(self, size: int = 1 << 16) -> bytes:
        """What the client can read now."""
        received = bytearray()
        buffer = memoryview(bytearray(size))
        while count := self.client.read_into(buffer):
            received += buffer[:count]
        return bytes(received)
