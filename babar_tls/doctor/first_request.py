"""Connect without any secret until the server sends its first authentication request."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..errors import Error, ProtocolError
from ..protocol.authentication import Authentication, AuthState
from ..protocol.handshake import allows_next_attempt
from ..protocol.message_reader import MessageReader
from ..protocol.messages import TERMINATE, cstrings, text
from ..protocol.negotiation import attempts, negotiate, start_tls
from ..protocol.requests import Phase, Send
from ..protocol.startup import Startup

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..config import Config
    from ..protocol.negotiation import Attempt
    from ..protocol.requests import Exchange
    from ..tls.contract import TlsFacts

OK, CLEARTEXT, MD5, SASL = 0, 3, 5, 10
_MOST_MECHANISMS = 16


class Request(NamedTuple):
    """The first authentication request: its number, SASL mechanisms, and the facts of the TLS connection."""

    code: int
    mechanisms: tuple[str, ...]
    facts: TlsFacts | None


class _FirstRequest(Authentication):
    """Authentication that ends at the first request."""

    payload = b""

    def _answer(self, payload: bytes) -> Exchange[None]:
        if len(payload) < 4:
            raise ProtocolError("the server sent a malformed authentication request")
        self.payload = payload
        self._state = AuthState.FINISHED
        yield from ()


def receive_first_request(
    config: Config, refused: dict[Attempt, Error], plan: Sequence[Attempt] | None = None
) -> Exchange[Request]:
    """Make the attempts of a connect until the server sends an authentication request.

    Args:
        config: The configuration, without a password, for one host.
        refused: Receives the error of each attempt that fails.
        plan: The attempts, by default those of the configuration.

    Raises:
        Error: The error of the last attempt that a connect makes.
    """
    plan = attempts(config) if plan is None else plan
    for attempt in plan:
        facts: TlsFacts | None = None
        unrequested: bytes | None = None
        try:
            unrequested = yield from negotiate(config, attempt)
            if unrequested is not None:
                facts = yield from start_tls(config, unrequested)
            return (yield from _receive(config, facts))
        except Error as error:
            refused[attempt] = error
            is_encrypted = unrequested is not None
            if attempt is plan[-1] or not allows_next_attempt(error, attempt, facts, encrypted=is_encrypted):
                raise
    raise AssertionError("the last attempt returns or raises")


def _receive(config: Config, facts: TlsFacts | None) -> Exchange[Request]:
    authentication = _FirstRequest(config, facts, MessageReader(), Startup(config))
    yield from authentication.run()
    code, body = int.from_bytes(authentication.payload[:4], "big"), authentication.payload[4:]
    if code == OK:
        yield Send(TERMINATE, Phase.READY)  # in another state the server would log it as a protocol violation
    names = [text(name) for name in cstrings(body) if name] if code == SASL else []
    return Request(code, tuple(names[:_MOST_MECHANISMS]), facts)
