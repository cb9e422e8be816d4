"""The whole handshake: one generator, which both drivers run.

::

    attempt ──► Connect ──► SSLRequest? ──► StartTls? ──► authenticate ──► ParameterStatus … ReadyForQuery
       ▲                                                       │
       └───────── another connection, if the mode allows ──────┘

See `requests` for what a driver does, `negotiation` for attempts, `authentication` for the states, `hosts` for several
servers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..config import TargetSessionAttrs, TlsNegotiation
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
from .negotiation import Attempt, attempts, matching_pin, negotiate, secure, start_tls, verified
from .requests import Endpoint, Exchange, Phase, Receive, Send
from .server_errors import CANNOT_CONNECT_NOW, refusal
from .target_session import check_session

if TYPE_CHECKING:
    from ..config import Config, TlsVerify
    from ..tls.contract import TlsFacts


@dataclass(frozen=True)
class Established:
    """A session that is ready for its first query, and how it came about.

    Attributes:
        facts: What the TLS engine says, `None` on a plain connection.
        authenticated: How both sides proved themselves.
        verified: What was verified of the server's certificate.
        pin: The pin that the certificate matches.
        negotiation: ``postgres`` or ``direct``, `None` without TLS.
        parameters: The server's ParameterStatus messages.
        process_id: The server process, for cancel requests.
        secret_key: The key that goes with it.
        reader: Holds what came after ReadyForQuery.
    """

    facts: TlsFacts | None
    authenticated: Authenticated
    verified: TlsVerify
    pin: str | None
    negotiation: str | None
    parameters: dict[str, str]
    process_id: int
    secret_key: bytes = field(repr=False)
    reader: messages.MessageReader = field(repr=False)


def handshake(config: Config, wanted: TargetSessionAttrs | None = None) -> Exchange[Established]:
    """Connect and log in as `config` says.

    Args:
        config: What the caller asked for, of one host.
        wanted: What the session must be like, by default `config.target_session_attrs`.

    Raises:
        Error: Whatever went wrong in the last attempt that the mode allows.
    """
    established = yield from _establish(config)
    established.reader.expect_target_session()  # the limits hold until the connect is over
    try:
        yield from check_session(wanted or config.target_session_attrs, established.parameters, established.reader)
    except TargetSessionError:
        yield Send(messages.TERMINATE, Phase.READY)
        raise
    established.reader.ready()
    return established


def _establish(config: Config) -> Exchange[Established]:
    plan = attempts(config)
    failures: list[Error] = []
    for attempt in plan:
        reader = messages.MessageReader()
        facts: TlsFacts | None = None
        encrypted = False
        try:
            unrequested = yield from negotiate(config, attempt)
            if unrequested is not None:
                encrypted = True
                facts = yield from start_tls(config, unrequested)
            authenticated = yield from authenticate(config, facts, reader)
        except Error as error:
            if attempt is plan[-1] or not _may_be_followed(error, attempt, facts, encrypted=encrypted):
                after(error, failures)
                raise
            failures.append(error)
        else:
            try:
                return (yield from _await_ready(config, facts, authenticated, reader))
            except Error as error:
                after(error, failures)
                raise
    raise AssertionError("every plan has a last attempt")


def cancel(config: Config, where: Endpoint, process_id: int, secret_key: bytes, *, tls: bool) -> Exchange[None]:
    """Ask the server to cancel what a session runs; over TLS if, and only if, the session has it.

    Raises:
        Error: The request could not be delivered. The server never says whether it did anything.
    """
    yield from secure(config, Attempt.TLS if tls else Attempt.PLAIN, where)
    yield Send(messages.cancel_request(process_id, secret_key), Phase.QUERY)
    try:
        # The server answers by closing the connection, after it has passed the signal on. Bytes mean nothing, and are
        # not waited for a second time: a hostile server would send them without end.
        yield Receive(Phase.QUERY)
    except Closed:
        pass  # it did not send close_notify, but nothing was to come


def _may_be_followed(error: Error, attempt: Attempt, facts: TlsFacts | None, *, encrypted: bool) -> bool:
    """Return True if libpq would make the next attempt: TLS failed, or the server refused before authentication ended.

    Policy that was violated and signatures that were wrong are not retried with less security. Neither is an invalid
    answer to SSLRequest, nor what breaks TLS after its handshake (a client certificate that is rejected in TLS 1.3).
    """
    if isinstance(error, ServerError):
        went_plain_already = attempt is Attempt.TLS_OR_PLAIN and facts is None
        not_now = error.code == CANNOT_CONNECT_NOW  # nor in another way: another host may
        return not (went_plain_already or not_now or isinstance(error, ChannelBindingRefused))
    # A broken connection and bytes that are not TLS are the same failure: timing decides which of them is noticed.
    has_failed = isinstance(error, ProtocolError | IoError) and not isinstance(error, TimeoutError)
    return has_failed and encrypted and facts is None


def _await_ready(
    config: Config, facts: TlsFacts | None, authenticated: Authenticated, reader: messages.MessageReader
) -> Exchange[Established]:
    parameters: dict[str, str] = {}
    key_data = 0, b""
    while True:
        parameters.update(map(messages.parse_parameter_status, reader.take(b"S")))
        kind, payload = yield from next_message(reader, Phase.READY)
        if kind == b"S":
            parameters.update([messages.parse_parameter_status(payload)])
        elif kind == b"K":
            key_data = messages.parse_backend_key_data(payload)
        elif kind == b"Z":
            messages.parse_ready_for_query(payload)
            return Established(
                facts=facts,
                authenticated=authenticated,
                verified=verified(config, facts),
                pin=matching_pin(config, facts),
                negotiation=_negotiation(config) if facts is not None else None,
                parameters=parameters,
                process_id=key_data[0],
                secret_key=key_data[1],
                reader=reader,
            )
        elif kind == b"E":
            raise refusal(messages.parse_fields(payload))
        elif kind != b"N":
            raise ProtocolError(f"the server sent {kind!r} where it should get ready")


def _negotiation(config: Config) -> str:
    return "direct" if config.tls_negotiation is TlsNegotiation.DIRECT else "postgres"
