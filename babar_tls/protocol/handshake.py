"""Connect to one host and log in. One generator runs the whole handshake.

::

    attempt ──► Connect ──► SSLRequest? ──► StartTls? ──► authenticate ──► ParameterStatus … ReadyForQuery
       ▲                                                       │
       └──────── another connection, if the mode allows it ────┘

See `requests` for the driver, `negotiation` for the attempts, `authentication` for its states, and `hosts` for the
choice of the host.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..errors import (
    ChannelBindingRefused,
    Closed,
    Error,
    IoError,
    ProtocolError,
    ServerError,
    TargetSessionError,
    after,
)
from . import messages
from .authentication import Authenticated, authenticate, next_message
from .message_reader import MessageReader
from .negotiation import Attempt, attempts, matching_pin, negotiate, secure, start_tls, verified
from .requests import Exchange, Phase, Receive, Send
from .server_errors import CANNOT_CONNECT_NOW, refusal
from .startup import Startup, version_text
from .target_session import check_session

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..config import Config, TargetSessionAttrs, TlsVerify
    from ..config.host import Host
    from ..tls.contract import TlsFacts


@dataclass(frozen=True)
class Established:
    """A session that is ready for its first query, and the results of its handshake.

    Attributes:
        facts: The facts that the TLS backend reports, `None` without TLS.
        authenticated: The result of authentication.
        verified: The verification of the server's certificate.
        pin: The pin that the certificate matches.
        negotiation: ``postgres`` or ``direct``, `None` without TLS.
        parameters: The values of the server's ParameterStatus messages.
        process_id: The server process, for cancel requests.
        secret_key: The key for cancel requests.
        reader: The message reader, including any bytes that were received after ReadyForQuery.
        protocol_version: The negotiated version of the protocol: ``3.0`` or ``3.2``.
        unsupported_options: The protocol options (``_pq_.``) of `startup` that the server does not support.
        notices: The payloads of the NoticeResponses before ReadyForQuery, in order. Those in front of AuthenticationOk
            were sent before the server authenticated itself.
    """

    facts: TlsFacts | None
    authenticated: Authenticated
    verified: TlsVerify
    pin: str | None
    negotiation: str | None
    parameters: dict[str, str]
    process_id: int
    secret_key: bytes = field(repr=False)
    reader: MessageReader = field(repr=False)
    protocol_version: str = "3.0"
    unsupported_options: tuple[str, ...] = ()
    notices: list[bytes] = field(default_factory=list, repr=False)


def handshake(
    config: Config, wanted: TargetSessionAttrs | None = None, startup: Iterable[tuple[str, str]] = ()
) -> Exchange[Established]:
    """Connect and log in.

    Args:
        config: The configuration, for one host.
        wanted: The required kind of session, by default `config.target_session_attrs`.
        startup: Startup parameters, which replace those of the configuration (see `startup.startup_parameters`).

    Raises:
        ConfigError: `startup` is invalid, or contradicts the configuration.
        Error: The failure of the last attempt that the mode allows.
    """
    established = yield from _establish(config, Startup(config, startup))
    established.reader.expect_target_session()  # limits apply until the connect is complete
    try:
        yield from check_session(wanted or config.target_session_attrs, established.parameters, established.reader)
    except TargetSessionError:
        yield Send(messages.TERMINATE, Phase.READY)
        raise
    established.reader.ready()
    return established


def _establish(config: Config, startup: Startup) -> Exchange[Established]:
    plan = attempts(config)
    failures: list[Error] = []
    for attempt in plan:
        reader = MessageReader()
        facts: TlsFacts | None = None
        unrequested: bytes | None = None
        authenticated: Authenticated | None = None
        try:
            unrequested = yield from negotiate(config, attempt)
            if unrequested is not None:
                facts = yield from start_tls(config, unrequested)
            authenticated = yield from authenticate(config, facts, reader, startup)
            return (yield from _await_ready(config, facts, authenticated, reader))
        except Error as error:
            is_last = attempt is plan[-1] or authenticated is not None
            if is_last or not allows_next_attempt(error, attempt, facts, encrypted=unrequested is not None):
                after(error, failures)
                raise
            failures.append(error)
    raise AssertionError("the last attempt returns or raises")


def cancel(config: Config, where: Host, process_id: int, secret_key: bytes, *, tls: bool) -> Exchange[None]:
    """Request that the server cancel a session's query. The request uses TLS if, and only if, the session does.

    Raises:
        Error: The request could not be delivered. The server does not report whether it cancelled anything.
    """
    yield from secure(config, Attempt.TLS if tls else Attempt.PLAIN, where)
    yield Send(messages.cancel_request(process_id, secret_key), Phase.QUERY)
    try:
        # The server closes the connection after it has sent the signal to its process. Received bytes are ignored.
        # There is no second `Receive`, because a hostile server could send bytes forever.
        yield Receive(Phase.QUERY)
    except Closed:
        pass  # the server did not send close_notify; no data was expected


def allows_next_attempt(error: Error, attempt: Attempt, facts: TlsFacts | None, *, encrypted: bool) -> bool:
    """Return True if libpq would make the next attempt: TLS failed, or the server refused before authentication ended.

    These failures are not retried with less security: a policy violation, a wrong signature, an invalid response to
    SSLRequest, and a TLS failure after the TLS handshake (in TLS 1.3, the server rejects a client certificate then).
    """
    if isinstance(error, ServerError):
        was_plain = attempt is Attempt.TLS_OR_PLAIN and facts is None
        not_now = error.code == CANNOT_CONNECT_NOW  # the other TLS setting does not help; another host may
        return not (was_plain or not_now or isinstance(error, ChannelBindingRefused))
    # A broken connection and bytes that are not TLS are the same failure; timing decides which one is detected.
    has_failed = isinstance(error, ProtocolError | IoError) and not isinstance(error, TimeoutError)
    return has_failed and encrypted and facts is None


def _await_ready(
    config: Config, facts: TlsFacts | None, authenticated: Authenticated, reader: MessageReader
) -> Exchange[Established]:
    parameters: dict[str, str] = {}
    process_id, secret_key = 0, b""
    protocol, notices = authenticated.protocol, [*authenticated.notices]
    while True:
        kind, payload = yield from next_message(reader, Phase.READY)
        if kind == b"S":
            parameters.update(map(messages.parse_parameter_status, [payload, *reader.take(b"S")]))
        elif kind == b"K":
            process_id, secret_key = messages.parse_backend_key_data(payload, protocol.version)
        elif kind == b"Z":
            messages.parse_ready_for_query(payload)
            return Established(
                facts=facts,
                authenticated=authenticated,
                verified=verified(config, facts),
                pin=matching_pin(config, facts),
                negotiation=config.tls_negotiation.value if facts is not None else None,
                parameters=parameters,
                process_id=process_id,
                secret_key=secret_key,
                reader=reader,
                protocol_version=version_text(protocol.version),
                unsupported_options=protocol.unsupported,
                notices=notices,
            )
        elif kind == b"E":
            raise refusal(messages.parse_fields(payload))
        elif kind == b"N":
            notices.append(payload)
        else:
            raise ProtocolError(f"the server sent {kind!r} before ReadyForQuery")
