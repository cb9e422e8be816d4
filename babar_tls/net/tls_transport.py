"""The TLS layer of the blocking driver: requests that read, write and start TLS, on top of the `Transport`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from ..backends import get_backend
from ..config.enums import TlsMode, TlsVersion
from ..config.token_uri import is_token_uri
from ..diagnostics.log import warn_once
from ..errors import CertificateError, ConfigError, Error, IoError, TlsError
from ..protocol.message_reader import STARTUP, TARGET_SESSION
from ..protocol.requests import Connect, Fill, Phase, Receive, Send, StartTls
from ..tls.alerts import UNEXPECTED_MESSAGE_RECORD
from ..tls.connection import TlsConnection
from ..tls.key_share_cache import Server, key_share_cache
from ..tls.support import refuse_unsupported
from .buffers import borrow, give_back
from .transport import CONNECTING_READ, Transport

if TYPE_CHECKING:
    from ..config import Config
    from ..tls.contract import TlsBackend, TlsFacts
    from ..tls.parameters import TlsParameters
    from .deadline import Meter
    from .interruption import Interruption


#: The maximum size of the ciphertext that a server may send before the session is ready. Floods of HelloRequests, of
#: session tickets and of empty records produce no plaintext, so the limits of the message reader do not apply to them.
_MAX_CIPHERTEXT = STARTUP.total_bytes + TARGET_SESSION.total_bytes


class TlsTransport(Transport):
    """A connection with or without TLS, and the requests that use it.

    Attributes:
        backend: The TLS backend, `None` if the configuration excludes TLS.
        tls: The TLS connection, once its handshake is complete.
    """

    def __init__(self, config: Config, meter: Meter, interruption: Interruption | None = None) -> None:
        super().__init__(config, meter, interruption)
        plain = config.tls_mode is TlsMode.DISABLE or config.targets[0].is_unix_socket
        self.backend: TlsBackend | None = None if plain else get_backend(config.tls_backend)
        key = config.tls_client_key
        if key is not None and self.backend is not None and is_token_uri(key):
            refuse_unsupported(self.backend, config.tls_parameters)  # before the network is used
        self.tls: TlsConnection | None = None
        self._server: Server | None = None
        #: The requests before TLS and their results, which `_begin_again` repeats.
        self._preamble: list[tuple[Send | Receive, bytes | None]] = []
        self._ciphertext_left = _MAX_CIPHERTEXT

    def close(self, farewell: bytes = b"") -> None:
        """Close the connection; called by the thread that owns it. Never wait, never raise.

        Args:
            farewell: The bytes to send first, if that is possible without waiting.
        """
        if self.interruption.is_forked:
            self.close_copy()
            return
        tls, self.tls = self.tls, None
        try:
            if farewell and self._socket is not None:
                self._socket.setblocking(False)
                self._socket.send(sealed(tls, farewell))
        except (OSError, Error):
            pass  # the connection is broken, or the server does not read
        finally:
            self.close_socket()
            if tls is not None:
                tls.close()

    def close_copy(self) -> None:
        """Close only a forked child's copy of the socket, because the parent uses the connection.

        Acquire no lock: a thread that exists only in the parent may have held it during the fork.
        """
        sock, self._socket = self._socket, None
        if sock is not None:
            sock.close()

    def _connect(self, request: Connect) -> None:
        self.close()
        self._ciphertext_left = _MAX_CIPHERTEXT
        self._preamble = []
        self.open(request.endpoint)

    def _send(self, request: Send) -> None:
        if request.warning is not None:
            with self.outside(request.phase):  # a log handler may block
                server = self.config.targets[0].describe()
                warn_once(f"{self.description}: {request.warning}", key=f"{server}: {request.warning}")
        if self.tls is None:
            self._write(request.data, request.phase)
            if request.phase is Phase.NEGOTIATE:
                self._preamble.append((request, None))
        else:
            self.tls.write(request.data)
            self._write(self.tls.data_to_send(), request.phase)

    def _receive(self, request: Receive) -> bytes:
        buffer = memoryview(bytearray(CONNECTING_READ))
        data = bytes(buffer[: self._read_into(buffer, request.phase)])
        self.meter.mark(request.phase)
        if request.phase is Phase.NEGOTIATE:
            self._preamble.append((request, data))
        return data

    def _fill(self, request: Fill) -> int:
        count = self._read_into(request.inbox.space(), request.phase)
        request.inbox.received(count)
        self.meter.mark(request.phase)
        return count

    def _read_into(self, buffer: memoryview, phase: Phase) -> int:
        tls = self.tls
        if tls is None:
            return self._read(self._await_data(phase), buffer, phase)
        while (count := tls.read_into(buffer)) is None:
            self._write(tls.data_to_send(), phase)  # reading may have produced output, such as a key update
            self._feed(tls, phase)
        return count

    def _start_tls(self, request: StartTls) -> TlsFacts:
        """Complete the handshake: first with the group that the server is known to select, then with all groups."""
        if self.backend is None:
            raise ConfigError("the handshake requested TLS, which the configuration excludes")
        self._server = server = Server(
            self.backend, self.description, request.server_hostname, request.parameters, self.config.tls_pins
        )
        parameters = key_share_cache.parameters(server)
        if parameters is not request.parameters:
            facts = self._try_narrowed(server, parameters, request)
            if facts is not None:
                return facts
        return self._shake_hands(self._new_tls(self.backend, request.parameters, request))

    def _try_narrowed(self, server: Server, parameters: TlsParameters, request: StartTls) -> TlsFacts | None:
        """Complete the handshake with fewer groups than the configuration allows.

        A server that accepts none of the offered groups may send an alert, close the connection, or send a certificate
        that the offer does not allow. So any failure leads to another attempt, unless there is no time left.

        Returns:
            The facts, or `None` if the handshake must be repeated with all groups; the connection is ready for that.
        """
        try:
            tls = self._new_tls(server.backend, parameters, request)
        except ConfigError:
            key_share_cache.forget(server)
            return None
        try:
            return self._shake_hands(tls)
        except TimeoutError:
            raise
        except Error as error:
            if self.interruption.requested or self._ciphertext_left < 0:
                raise
            if isinstance(error, CertificateError) and tls.version == TlsVersion.TLSV1_3.value:
                raise  # RFC 8446 §4.2.7: the groups that are offered do not limit the certificate, unlike in TLS 1.2
            key_share_cache.forget(server)
            self._begin_again(error)
            return None

    def _shake_hands(self, tls: TlsConnection) -> TlsFacts:
        try:
            # The client's Finished stays in the stream until there is data to send with it, so a flight is one write.
            while not tls.do_handshake():
                self._write(tls.data_to_send(), Phase.TLS)
                self._feed(tls, Phase.TLS)
        except BaseException as error:
            if isinstance(error, TlsError):
                self._send_alert(tls.data_to_send())
            tls.close()
            raise
        self.tls = tls
        self.meter.mark(Phase.TLS)
        assert tls.facts is not None  # noqa: S101 - the handshake is complete
        return tls.facts

    def _new_tls(self, backend: TlsBackend, parameters: TlsParameters, request: StartTls) -> TlsConnection:
        return TlsConnection(backend, parameters, request.server_hostname, request.binding_type)

    def _begin_again(self, failure: Error) -> None:
        """Connect to the same address again and repeat what was exchanged before TLS, within the same limits.

        Raises:
            Error: `failure`, if the server cannot be reached again or responds differently; an `IoError` would lead to
                another host. Another error, if the deadline has passed or the connection was closed locally.
        """
        preamble, ciphertext_left = self._preamble, self._ciphertext_left
        if self._reached is None:
            raise failure
        try:
            self._connect(Connect(self._reached[0]))
            self._ciphertext_left = ciphertext_left
            is_same = True
            for request, response in preamble:
                if isinstance(request, Send):
                    self._send(request)
                elif self._receive(request) != response:
                    is_same = False
                    break
        except IoError as error:
            if isinstance(error, TimeoutError) or self.interruption.requested:
                raise
            is_same = False
        if not is_same:
            raise failure

    def learn_group(self, *, verified: bool) -> None:
        """Remember the key-exchange group of the session that is ready, for the next connect to the same server.

        Args:
            verified: Whether the server's certificate was verified, or matches a pin.
        """
        tls, server = self.tls, self._server
        if not verified or tls is None or tls.facts is None or server is None:
            return
        if tls.hello_retried and tls.facts.possession_proven:
            key_share_cache.learn(server, tls.facts.group)

    def _send_alert(self, alert: bytes) -> None:
        """Send an alert for the server's log, if that is possible without waiting.

        The socket may stay non-blocking, because nothing else is sent on this connection.
        """
        try:
            if self._socket is not None and alert:
                self._socket.setblocking(False)
                self._socket.send(alert)
        except OSError:
            pass  # the caller raises the original error

    def _feed(self, tls: TlsConnection, phase: Phase) -> None:
        sock = self._await_data(phase)
        buffer = borrow()
        count = self._read(sock, buffer, phase)
        if not self._settled:
            self._ciphertext_left -= count
            if self._ciphertext_left < 0:
                self._refuse_flood(tls)
        if count:
            tls.receive_data(buffer[:count])
        else:
            tls.receive_eof()
        give_back(buffer)

    def _refuse_flood(self, tls: TlsConnection) -> NoReturn:
        if self.tls is None:
            self._send_alert(UNEXPECTED_MESSAGE_RECORD)
        else:
            tls.close_notify()
            self._send_alert(tls.data_to_send())
        raise TlsError(
            f"the server sent more than {_MAX_CIPHERTEXT} bytes of TLS records before the session was ready",
            remedy="No PostgreSQL server does this. Check that the address is right and that no attacker is involved.",
        )


def sealed(tls: TlsConnection | None, farewell: bytes) -> bytes:
    """Return the bytes that end a connection properly: the farewell and, with TLS, close_notify.

    If TLS has failed, they are the alert for the server, if it was not sent yet.
    """
    if tls is None:
        return farewell
    try:
        tls.write(farewell)
    except Error:
        pass  # the caller of the operation that failed has got the error
    tls.close_notify()
    return tls.data_to_send()
