"""Authenticate: from StartupMessage to AuthenticationOk.

The table `_TRANSITIONS` has the requests that the server may send in each state; any other request is a protocol error.
`Policy` decides whether the configuration allows the request.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from ..errors import AuthError, ConfigError, PasswordMissing, ProtocolError, ServerError, UnsupportedAuth
from . import messages
from .message_reader import MAX_AUTH_LENGTH
from .policy import Mechanism, Policy
from .requests import Derive, Exchange, Phase, ScramKeys, Send, fill
from .saslprep import saslprep
from .scram import ScramClient
from .server_errors import refusal
from .startup import Negotiated

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..config import Config
    from ..tls.contract import TlsFacts
    from .message_reader import MessageReader
    from .startup import Startup


class AuthState(StrEnum):
    """The states of authentication. They are strings, because the hash of a plain enum member is a Python function."""

    STARTED = "StartupMessage sent"
    PASSWORD_SENT = "PasswordMessage sent"  # noqa: S105 - the name of a protocol state
    SASL_STARTED = "SASLInitialResponse sent"
    PROOF_SENT = "SASLResponse sent"
    SERVER_PROVEN = "server signature verified"
    FINISHED = "AuthenticationOk received"


_OK, _CLEARTEXT, _MD5, _SASL, _SASL_CONTINUE, _SASL_FINAL = 0, 3, 5, 10, 11, 12

_TRANSITIONS = {
    (AuthState.STARTED, _OK): AuthState.FINISHED,
    (AuthState.STARTED, _CLEARTEXT): AuthState.PASSWORD_SENT,
    (AuthState.STARTED, _MD5): AuthState.PASSWORD_SENT,
    (AuthState.STARTED, _SASL): AuthState.SASL_STARTED,
    (AuthState.PASSWORD_SENT, _OK): AuthState.FINISHED,
    (AuthState.SASL_STARTED, _SASL_CONTINUE): AuthState.PROOF_SENT,
    (AuthState.PROOF_SENT, _SASL_FINAL): AuthState.SERVER_PROVEN,
    (AuthState.SERVER_PROVEN, _OK): AuthState.FINISHED,
}

#: Methods that this library does not support: the value for `require_auth` and the full name.
_UNSUPPORTED = {
    2: (None, "Kerberos 5"),
    4: (None, "crypt"),
    6: (None, "SCM credential"),
    7: ("gss", "GSSAPI"),
    8: ("gss", "GSSAPI"),
    9: ("sspi", "SSPI"),
}
_KNOWN = frozenset([_OK, _CLEARTEXT, _MD5, _SASL, _SASL_CONTINUE, _SASL_FINAL, *_UNSUPPORTED])


class Authenticated(NamedTuple):
    """The method that authenticated the client, whether the server authenticated itself, and the other results."""

    method: str = "none"
    gs2_flag: str | None = None
    channel_binding_type: str | None = None
    channel_binding_hash: str | None = None
    scram_iterations: int | None = None
    server_authenticated: bool = False
    notices: tuple[bytes, ...] = ()
    protocol: Negotiated = Negotiated(messages.PROTOCOL_3_0)


def authenticate(
    config: Config, facts: TlsFacts | None, reader: MessageReader, startup: Startup
) -> Exchange[Authenticated]:
    """Send the StartupMessage and respond to the server's requests until it sends AuthenticationOk.

    Args:
        config: The configuration.
        facts: The facts that the TLS backend reports, `None` without TLS.
        reader: The message reader of the connection.
        startup: The StartupMessage.

    Raises:
        AuthError: The server refused the client, policy forbids the request, or a signature is wrong.
        ServerError: The server refused the connection for another reason.
        ProtocolError: The server violated the protocol.
    """
    return Authentication(config, facts, reader, startup).run()


class Authentication:
    """The conversation from the StartupMessage on; see `authenticate`."""

    _result = Authenticated()

    def __init__(self, config: Config, facts: TlsFacts | None, reader: MessageReader, startup: Startup) -> None:
        self._config = config
        self._reader = reader
        self._startup = startup
        self._negotiated: Negotiated | None = None
        self._policy = Policy(config, facts)
        self._state = AuthState.STARTED
        self._mechanism: Mechanism | None = None
        self._pipelined: Mechanism | None = None
        self._handlers: dict[int, Callable[[bytes], Exchange[None]]] = {
            _CLEARTEXT: self._cleartext,
            _MD5: self._md5,
            _SASL: self._sasl,
            _SASL_CONTINUE: self._sasl_continue,
            _SASL_FINAL: self._sasl_final,
        }

    def run(self) -> Exchange[Authenticated]:
        """Run the conversation. See `authenticate`."""
        startup = self._startup.message
        notices: list[bytes] = []
        self._pipelined = self._policy.only_mechanism() if self._has_secret() else None
        if self._pipelined is None:
            yield Send(startup, Phase.AUTH)
        else:  # the first message contains no secret, and the server's request is still checked
            yield Send(startup + self._first_message(self._pipelined), Phase.AUTH, self._pipelined.warning)
        while True:
            kind, payload = yield from next_message(self._reader, Phase.AUTH)
            if kind == b"R":
                yield from self._answer(payload)
                if self._state is AuthState.FINISHED:
                    protocol = self._negotiated or Negotiated(self._startup.requested)
                    return self._result._replace(notices=tuple(notices), protocol=protocol)
            elif kind == b"E":
                raise self._refusal(messages.parse_fields(payload))
            elif kind == b"v":
                self._negotiate(payload)
            elif kind == b"N":
                notices.append(payload)
            else:
                raise ProtocolError(f"expected authentication request from server, but received {messages.shown(kind)}")

    def _negotiate(self, payload: bytes) -> None:
        if self._negotiated is not None:
            raise ProtocolError("received duplicate protocol negotiation message")
        if self._state is not AuthState.STARTED:  # libpq accepts it
            raise ProtocolError("received a protocol negotiation message after an authentication request")
        self._negotiated = self._startup.negotiate(payload)

    def _answer(self, payload: bytes) -> Exchange[None]:
        length = 4 + len(payload)
        if length < 8:
            raise ProtocolError("the server sent a malformed authentication request")
        code, body = int.from_bytes(payload[:4], "big"), payload[4:]
        if length > MAX_AUTH_LENGTH and code not in (_SASL, _SASL_CONTINUE, _SASL_FINAL):
            raise ProtocolError(f"the server sent an authentication request of {length} bytes")
        if code not in _KNOWN:
            raise UnsupportedAuth(f"authentication method {code} not supported")
        if code in _UNSUPPORTED:
            method, name = _UNSUPPORTED[code]
            if method is not None:
                self._policy.check_request(method)
            raise UnsupportedAuth(
                f"{name} authentication not supported",
                remedy="Add a scram-sha-256 line for the role to pg_hba.conf.",
            )
        after = _TRANSITIONS.get((self._state, code))
        if after is None:
            if code == _SASL and self._mechanism is not None:
                raise ProtocolError("duplicate SASL authentication request")
            self._refuse_early_ok(code)
            raise ProtocolError(f"authentication request {code} does not follow {self._state.value!r}")
        if body and code in (_OK, _CLEARTEXT):
            raise ProtocolError(f"authentication request {code} has {len(body)} bytes too many")
        if code == _OK:
            self._policy.check_finished(self._result.method, bound=self._result.channel_binding_type is not None)
        else:
            yield from self._handlers[code](body)
        self._state = after

    def _refuse_early_ok(self, code: int) -> None:
        """Refuse AuthenticationOk in the middle of SCRAM: the server has not authenticated itself."""
        if code == _OK and self._mechanism is not None:
            self._policy.check_finished("scram-sha-256", bound=False)
            raise AuthError(
                "server sent AuthenticationOk before its SCRAM signature, which would prove that it has the password",
                remedy="Do not trust this server.",
            )

    def _cleartext(self, _body: bytes) -> Exchange[None]:
        self._policy.check_request("password")
        yield Send(messages.password(self._password()), Phase.AUTH)
        self._result = Authenticated("password")

    def _md5(self, salt: bytes) -> Exchange[None]:
        self._policy.check_request("md5")
        if len(salt) != 4:
            raise ProtocolError("the server sent an md5 salt that is not 4 bytes long")
        digest = md5_digest(self._config.user.encode(), self._password(), salt)
        yield Send(messages.password(digest), Phase.AUTH, self._policy.md5_warning())
        self._result = Authenticated("md5")

    def _sasl(self, body: bytes) -> Exchange[None]:
        mechanisms = messages.cstrings(body)
        if mechanisms[-1:] != [b""] or b"" in mechanisms[:-1]:
            raise ProtocolError("the server sent a malformed list of SASL mechanisms")
        self._mechanism = mechanism = self._policy.choose_mechanism([messages.text(name) for name in mechanisms[:-1]])
        if self._pipelined is None:
            if not self._has_secret():
                self._password()
            yield Send(self._first_message(mechanism), Phase.AUTH, mechanism.warning)
        elif mechanism != self._pipelined:  # `only_mechanism` was wrong
            raise AssertionError("the server requested another mechanism than the pipelined one")

    def _first_message(self, mechanism: Mechanism) -> bytes:
        """Start SCRAM; return the SASLInitialResponse with the client-first-message."""
        self._scram = ScramClient(mechanism.gs2_cbind_flag, mechanism.binding.data)
        return messages.sasl_initial_response(mechanism.name, self._scram.client_first_message())

    def _has_secret(self) -> bool:
        return bool(self._config.password) or self._config.scram_client_key is not None

    def _sasl_continue(self, body: bytes) -> Exchange[None]:
        challenge = self._scram.receive_server_first(body)
        self._check_iterations(challenge.iterations)
        client_key, server_key = self._config.scram_client_key, self._config.scram_server_key
        if client_key is not None and server_key is not None:
            keys = ScramKeys(client_key, hashlib.sha256(client_key).digest(), server_key)
        else:
            keys = yield Derive(saslprep(self._password()), challenge.salt, challenge.iterations)
        self._iterations = challenge.iterations
        yield Send(messages.sasl_response(self._scram.client_final_message(keys)), Phase.AUTH)

    def _check_iterations(self, iterations: int) -> None:
        """Refuse a count that costs too much CPU time, or that makes the password cheap to guess from the proof.

        Raises:
            AuthError: The count is outside the limits of the configuration.
        """
        minimum, maximum = self._config.scram_min_iterations, self._config.scram_max_iterations
        if iterations > maximum:
            raise AuthError(
                f"the server requires {iterations} PBKDF2 iterations, more than scram_max_iterations={maximum}",
                remedy="Raise scram_max_iterations if each connect may use that much CPU time.",
            )
        if iterations < minimum:
            raise AuthError(
                f"the server requires {iterations} PBKDF2 iterations, fewer than scram_min_iterations={minimum}",
                remedy="Set the role's password again with a higher scram_iterations on the server, or lower "
                "scram_min_iterations. An attacker may require few iterations in order to guess the password faster.",
            )

    def _sasl_final(self, body: bytes) -> Exchange[None]:
        yield from ()  # a generator, like the other handlers
        self._scram.receive_server_final(body)
        assert self._mechanism is not None  # noqa: S101 - the table has SASLFinal after SASL only
        self._result = Authenticated(
            method=self._mechanism.name.lower(),
            gs2_flag=self._mechanism.flag,
            channel_binding_type=self._mechanism.binding_type,
            channel_binding_hash=self._mechanism.binding.hash_name,
            scram_iterations=self._iterations,
            server_authenticated=True,
        )

    def _password(self) -> bytes:
        password = self._config.password
        if callable(password):
            raise ConfigError(
                "password is a callable, which was not called before the handshake",
                remedy="Use Session.connect or AsyncSession.connect, which call it.",
            )
        if not password:
            raise PasswordMissing(
                "fe_sendauth: no password supplied",
                remedy="The server requires a password: set Config(password=…), or password= in the connection string.",
            )
        return password.encode() if isinstance(password, str) else password

    def _refusal(self, fields: dict[str, str]) -> ServerError:
        bound = self._mechanism is not None and (
            (self._mechanism.flag == "p" and self._state is AuthState.PROOF_SENT)
            or (self._mechanism.flag == "y" and self._state is AuthState.SASL_STARTED)
        )
        return refusal(fields, about_binding=bound, password_proven=self._state is AuthState.SERVER_PROVEN)


def md5_digest(user: bytes, password: bytes, salt: bytes) -> bytes:
    """Return PostgreSQL's md5 response: ``md5`` and md5(md5(password + user) + salt) in hexadecimal.

    Raises:
        UnsupportedAuth: MD5 is not available in this Python (FIPS).
    """
    try:
        inner = hashlib.new("md5", password + user).hexdigest().encode()  # noqa: S324 - the protocol requires it
        return b"md5" + hashlib.new("md5", inner + salt).hexdigest().encode()  # noqa: S324 - the protocol requires MD5
    except ValueError as exc:
        raise UnsupportedAuth(
            "server requested an md5 password, and this Python has no MD5 (FIPS mode?)",
            remedy="Set the role's password again with password_encryption=scram-sha-256.",
        ) from exc


def next_message(reader: MessageReader, phase: Phase) -> Exchange[messages.Message]:
    """Wait for the server's next message."""
    while (message := reader.next_message()) is None:
        yield from fill(reader, phase)
    return message
