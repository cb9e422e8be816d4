"""The blocking connection driver: performs the protocol's requests on one socket, within one deadline.

All connects run through it. A connect from asyncio runs in a thread of its own (`connect_threads`), which overrides how
this driver waits and computes (`gated_connection`); the event loop gets the socket when the session is ready
(`asyncio`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeAlias, TypeVar

from ..backends import get_backend
from ..config.enums import TlsMode, TlsVersion
from ..crypto import derive_within
from ..diagnostics.log import warn
from ..errors import CertificateError, Closed, ConfigError, Error, IoError, ServerError, TlsError, at_endpoint
from ..protocol.handshake import cancel
from ..protocol.message_reader import STARTUP, TARGET_SESSION
from ..protocol.requests import (
    CancelRunning,
    Connect,
    Derive,
    Exchange,
    Fill,
    Phase,
    Receive,
    ScramKeys,
    Send,
    StartTls,
)
from ..tls.alerts import UNEXPECTED_MESSAGE_RECORD
from ..tls.connection import TlsConnection
from ..tls.key_share_cache import Server, key_share_cache
from .buffers import borrow, give_back
from .deadline import Meter
from .key_cache import key_cache
from .transport import CONNECTING_READ, Transport

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from ..config import Config
    from ..tls.contract import TlsBackend, TlsFacts
    from ..tls.parameters import TlsParameters
    from .interruption import Interruption


_T = TypeVar("_T")
#: Ciphertext that a server may send before the session is ready. Floods of HelloRequests, of session tickets and of
#: empty records produce no plaintext, so that the limits of the message reader do not see them.
_MAX_CIPHERTEXT = STARTUP.total_bytes + TARGET_SESSION.total_bytes

#: Makes the connection for one host.
Connector: TypeAlias = "Callable[[Config, Meter], BlockingConnection]"


class Opened(NamedTuple):
    """The parts of a connection that another driver takes over."""

    sock: socket.socket
    tls: TlsConnection | None
    address: str | None
    description: str | None


class BlockingConnection(Transport):
    """A connection, from nothing to closed. `drive` runs an exchange over it."""

    def __init__(self, config: Config, meter: Meter, interruption: Interruption | None = None) -> None:
        super().__init__(config, meter, interruption)
        self.backend = _find_backend(config)
        self.tls: TlsConnection | None = None
        self._derived: tuple[Derive, ScramKeys] | None = None
        self._server: Server | None = None
        #: What was exchanged before TLS, which `_begin_again` repeats.
        self._preamble: list[tuple[Send | Receive, bytes | None]] = []
        self._ciphertext_left = _MAX_CIPHERTEXT
        self._perform: dict[type, Callable[[Any], Any]] = {
            Connect: self._connect,
            Send: self._send,
            Receive: self._receive,
            Fill: self._fill,
            StartTls: self._start_tls,
            Derive: self._derive,
            CancelRunning: self._cancel_running,
        }

    def drive(self, exchange: Exchange[_T]) -> _T:
        """Run an exchange to its end.

        Raises:
            Error: What the exchange raises, with the server's name in it.
        """
        try:
            request = next(exchange)
            perform = self._perform
            while True:
                try:
                    result = perform[type(request)](request)
                except Error as error:
                    request = exchange.throw(error)
                else:
                    request = exchange.send(result)
        except StopIteration as stop:
            value: _T = stop.value
            return value
        except Error as error:
            name_error(error, self.description, settled=self._settled)
            raise

    def settle(self) -> None:
        """End the connect: from now on there is no deadline, and an error of the server's is an answer."""
        self.meter.deadline = None
        self._settled = True

    def close(self, farewell: bytes = b"") -> None:
        """Close the connection; called by the thread that owns it. Never waits, never raises.

        Args:
            farewell: What to send first, if that is possible without waiting.
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
        """Close the copy of the socket that a forked child has, and nothing else: the connection is the parent's.

        A thread that exists only in the parent may have held any lock at the moment of the fork, so none is acquired.
        """
        sock, self._socket = self._socket, None
        if sock is not None:
            sock.close()

    def hand_over(self) -> Opened:
        """Give up the socket, which is non-blocking from now on, and TLS."""
        if self._socket is None:
            raise Closed("the connection is closed")
        opened = Opened(self._socket, self.tls, self.address, self.description)
        opened.sock.setblocking(False)
        self.interruption.release()
        self._socket = self.tls = None
        return opened

    def _connect(self, request: Connect) -> None:
        self.close()
        self._derived = None
        self._ciphertext_left = _MAX_CIPHERTEXT
        self._preamble = []
        self.open(request.endpoint)

    def _send(self, request: Send) -> None:
        if request.warning is not None:
            self._warn(f"{self.description}: {request.warning}")
        if self.tls is None:
            self._write(request.data, request.phase)
            if request.phase is Phase.NEGOTIATE:
                self._preamble.append((request, None))
        else:
            self.tls.write(request.data)
            self._write(self.tls.data_to_send(), request.phase)

    def _warn(self, message: str) -> None:
        warn(message)

    def _cancel_running(self, request: CancelRunning) -> None:
        """Deliver a cancel request; an interruption ends the waits of that connection meanwhile."""
        try:
            deliver_cancel(
                request,
                Meter(request.config.connect_timeout),
                lambda config, meter: BlockingConnection(config, meter, self.interruption),
            )
        finally:
            if self._socket is not None:
                self.interruption.guard(self._socket)

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
        """Complete the handshake: with a narrowed offer where that is known to do, and with all groups if it fails."""
        if self.backend is None:
            raise ConfigError("TLS was requested by a handshake that was to have none")
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
        """Complete the handshake with fewer groups than the caller has asked for.

        A server may answer a hello without a group that it accepts in any way: by an alert, by closing the connection,
        or by a certificate that the offer does not allow. So any failure leads to another attempt, unless there is no
        time left for it.

        Returns:
            `None` if the handshake has to be done again with all groups. The connection is ready for that.
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
            # Our Finished stays in the stream until there is something to send with it: one flight, one write.
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
            Error: `failure`, if the server cannot be reached again or does not answer as it did the first time: another
                host must not be tried because of that. Or the deadline has passed, or the connection was closed here.
        """
        preamble, ciphertext_left = self._preamble, self._ciphertext_left
        if self._reached is None:
            raise failure
        try:
            self._connect(Connect(self._reached[0]))
            self._ciphertext_left = ciphertext_left
            is_same = all(self._perform[type(request)](request) == result for request, result in preamble)
        except IoError as error:
            if isinstance(error, TimeoutError) or self.interruption.requested:
                raise
            is_same = False
        if not is_same:
            raise failure

    def learn_group(self, *, verified: bool) -> None:
        """Remember the key-exchange group of the session that is ready, for the next connect to the same server.

        Args:
            verified: The server's certificate was verified, or matches a pin.
        """
        tls, server = self.tls, self._server
        if not verified or tls is None or tls.facts is None or server is None:
            return
        if tls.hello_retried and tls.facts.possession_proven:
            key_share_cache.learn(server, tls.facts.group)

    def _send_alert(self, alert: bytes) -> None:
        """Tell the server why, so that its log says so too, if that is possible without waiting.

        Nothing else is sent on this connection, so that the socket may stay non-blocking.
        """
        try:
            if self._socket is not None and alert:
                self._socket.setblocking(False)
                self._socket.send(alert)
        except OSError:
            pass  # the error at hand matters more than whether the server receives the alert

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

    def _derive(self, request: Derive) -> ScramKeys | None:
        keys = key_cache.get(request) if self.config.scram_key_cache else None
        if keys is None:
            keys = self._derive_keys(request)
            if keys is not None:
                self._derived = request, keys
        self.meter.mark(Phase.AUTH)
        return keys

    def keep_keys(self) -> None:
        """Store the SCRAM keys that were derived: the handshake succeeded, so that the server's signature was verified.

        Servers that are not authenticated could otherwise fill the cache with keys for salts that they made up.
        """
        derived, self._derived = self._derived, None
        if derived is not None and self.config.scram_key_cache:
            key_cache.put(*derived)

    def _derive_keys(self, request: Derive, is_cancelled: Callable[[], bool] | None = None) -> ScramKeys | None:
        seconds = self.meter.remaining(Phase.AUTH)
        return derive_within(request.password, request.salt, request.iterations, seconds, is_cancelled)


def deliver_cancel(request: CancelRunning, meter: Meter, connect: Connector = BlockingConnection) -> None:
    """Deliver a cancel request on a connection of its own.

    Raises:
        Error: The request could not be delivered.
    """
    connection = connect(request.config, meter)
    try:
        connection.drive(cancel(request.config, request.where, request.process_id, request.secret_key, tls=request.tls))
    finally:
        connection.close()


def _find_backend(config: Config) -> TlsBackend | None:
    """Return the TLS library that this connect may need, before anything is connected.

    Raises:
        BackendUnavailable: It is unknown or not installed.
    """
    plain = config.tls_mode is TlsMode.DISABLE or config.is_unix_socket
    return None if plain else get_backend(config.tls_backend)


def name_error(error: Error, description: str | None, *, settled: bool) -> None:
    """Put the server's name on an error of the connection's; in a session the server's own errors are answers."""
    if description is not None and not (settled and isinstance(error, ServerError | ConfigError)):
        for attempt in error.attempts:
            at_endpoint(attempt, description)


def sealed(tls: TlsConnection | None, farewell: bytes) -> bytes:
    """Return the bytes that end a connection in good order: the farewell and, with TLS, close_notify."""
    if tls is None:
        return farewell
    tls.write(farewell)
    tls.close_notify()
    return tls.data_to_send()
