"""An oracle that derives the expected behavior from the documented rules only.

The oracle observes a connect: it receives each request of the handshake generator and each byte of the server. It has
its own parser, state and interpretation of the policy, and imports no protocol code of the library. It raises
`Violation` if the generator violates the rules: if it continues where it must end, or ends where it must continue.

The rules:

* The client sends a cleartext password only if the server requests it as its first authentication request,
  `require_auth` allows it, channel binding is not required, and the server is trusted (verified by name or by the
  caller's own CA, pinned, or at a Unix-domain socket) or `require_auth` names ``password``. An md5 digest has the same
  conditions, except for trust: without it there is a warning.
* A SCRAM proof follows a valid server-first-message, which follows a list of mechanisms that the policy allows. Its
  gs2-header and binding data match the channel.
* Each of these is compared byte by byte with the message of an honest client. Nothing else is sent.
* SASLInitialResponse is sent together with StartupMessage only with `Config.pipelining`, and only if all acceptable
  lists of mechanisms have the same answer.
* A session is ready only after a valid AuthenticationOk: after the verification of the server's signature if there was
  a SCRAM exchange; with a bound channel if that is required; with an allowed method.
* A second connection is made only by ``allow`` and by ``prefer`` with fallback, after an ErrorResponse before
  AuthenticationOk or, in the latter case, after a failed TLS handshake; and never after 57P03 or after an error that
  says that the channel binding does not match.
* The StartupMessage requests the maximum version of the protocol. The server may select an older version that is
  allowed, once and before its first authentication request. The key for cancel requests has four bytes in version 3.0.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from babar_tls.errors import CertificateError, Error, TlsError
from babar_tls.protocol.requests import ScramKeys
from babar_tls.tls.contract import TlsFacts

from .alphabet import PLUS, SCRAM, VALID_SERVER_FIRST
from .honest_server import (
    CLIENT_KEY,
    CLIENT_NONCE,
    ITERATIONS,
    MD5_RESPONSE,
    MD5_SALT,
    NEVER_SENT,
    PASSWORD,
    SALT,
    SERVER_KEY,
    STORED_KEY,
    USER,
    client_final_without_proof,
    client_proof,
    frame,
    server_signature,
)
from .situations import HOST, PIN, PINNED_CERTIFICATE, SOCKET_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Callable

    from babar_tls.protocol.handshake import Established
    from babar_tls.protocol.requests import Connect, Derive, Send, StartTls

    from .situations import Situation

SSL_REQUEST = struct.pack("!II", 8, 80877103)
V3_0, V3_2 = 0x30000, 0x30002
_METHODS = frozenset(["password", "md5", "gss", "sspi", "scram-sha-256", "oauth", "none"])
_STARTUP_PARAMETERS = frozenset([b"user", b"client_encoding"])
_KEYS = ScramKeys(CLIENT_KEY, STORED_KEY, SERVER_KEY)
_LONGEST, _LONGEST_REQUEST = 65536, 2000  # any message before ReadyForQuery, and a request without SASL


class Violation(Exception):
    """The generator violated the rules."""


@dataclass(frozen=True)
class Mechanism:
    """The expected beginning of a SCRAM exchange."""

    name: str
    gs2_header: bytes
    cbind_data: bytes = b""
    warned: bool = False

    @property
    def flag(self) -> str:
        return self.gs2_header[:1].decode()

    @property
    def initial_response(self) -> bytes:
        """The SASLInitialResponse with the honest client's client-first-message."""
        message = self.gs2_header + self.client_first_message_bare
        return frame(b"p", self.name.encode() + b"\0" + struct.pack("!I", len(message)) + message)

    @property
    def client_first_message_bare(self) -> bytes:
        return b"n=,r=" + CLIENT_NONCE


class Rules:
    """The rules for a situation, computed once."""

    def __init__(self, situation: Situation) -> None:
        self.situation = situation
        mode = situation.transport.mode
        text = situation.require_auth
        negated = text is not None and text.startswith("!")
        names = frozenset() if text is None else frozenset(name.lstrip("!") for name in text.split(","))
        self.allowed = _METHODS - names if negated or text is None else names
        self.names_cleartext = not negated and "password" in names
        self.binding_required = situation.channel_binding == "require"
        self.has_password = situation.credentials in ("password", "password and keys")
        self.has_keys = situation.credentials in ("keys", "password and keys")
        self.host = SOCKET_DIRECTORY if mode == "unix" else HOST
        #: The connections in order: without TLS, with TLS, or either.
        self.plan = {
            "disable": ("plain",),
            "unix": ("plain",),
            "allow": ("plain", "tls"),
            "prefer": ("either",),
            "fallback": ("either", "plain"),
            "require": ("tls",),
            "direct": ("tls",),
        }[mode]
        self.direct = mode == "direct"
        self.unix = mode == "unix"
        transport, channel = situation.transport, situation.channel
        self.facts = TlsFacts(
            version=channel.version,
            cipher="TLS_AES_256_GCM_SHA384",
            alpn=transport.alpn,
            group="x25519",
            peer_chain=(channel.certificate,),
            possession_proven=channel.possession_proven,
            certificate_requested=situation.client_certificate.requested,
            binding_data={"tls-exporter": b"E" * 32, "tls-unique": b"F" * 12}.get(channel.binding_type or ""),
        )
        self.alpn_is_right = transport.alpn == "postgresql" or (transport.alpn is None and not self.direct)
        self.pinned = situation.verify == "none, pinned"
        self.pin_fails = self.pinned and not (channel.possession_proven and channel.certificate == PINNED_CERTIFICATE)
        self.server_is_trusted = situation.verify in ("full", "own authority", "none, pinned")
        certificate = situation.client_certificate
        oldest, newest = situation.protocol
        self.requested = V3_0 if newest == "3.0" else V3_2
        self.allows_older = oldest == "3.0" and newest != "3.0"
        self.client_certificate_fails = certificate.required and not (certificate.given and certificate.requested)
        self._mechanisms: dict[tuple[bool, tuple[str, ...]], Mechanism | str] = {}

    def trusts(self, *, encrypted: bool) -> bool:
        """Return True if the server is trusted."""
        return self.unix or (encrypted and self.server_is_trusted)

    def verified(self, *, encrypted: bool) -> str:
        """Return the value of `Established.verified`."""
        levels = {"full": "full", "own authority": "ca", "default authorities": "ca"}
        return levels.get(self.situation.verify, "none") if encrypted else "none"

    def mechanism(self, offered: tuple[str, ...], *, encrypted: bool) -> Mechanism | str:
        """Return the only correct answer to a list of mechanisms, or the reason for refusing it."""
        key = encrypted, offered
        if key not in self._mechanisms:
            self._mechanisms[key] = self._decide(offered, encrypted=encrypted)
        return self._mechanisms[key]

    def _decide(self, offered: tuple[str, ...], *, encrypted: bool) -> Mechanism | str:  # one line for each rule
        plus, unbound = PLUS in offered, SCRAM in offered
        data = self.situation.channel.data if encrypted else None
        if "scram-sha-256" not in self.allowed:
            return "require_auth forbids SCRAM"
        if not (self.has_password or self.has_keys):
            return "a password is missing"
        if plus and not encrypted:
            return "the server offers a binding without a channel"
        bound_type = self.situation.channel.binding_type or "tls-server-end-point"
        if plus and data is not None and self.situation.channel_binding != "disable":
            return Mechanism(PLUS, f"p={bound_type},,".encode(), data)
        if self.binding_required:
            return "the channel cannot be bound"
        if not unbound:
            return "no mechanism is supported by both sides"
        if not encrypted or self.situation.channel_binding == "disable":
            return Mechanism(SCRAM, b"n,,")
        if data is None:
            return Mechanism(SCRAM, b"n,,", warned=True)
        return Mechanism(SCRAM, b"y,,")

    def pipelined(self, *, encrypted: bool) -> Mechanism | None:
        """Return the mechanism that may begin together with the StartupMessage."""
        if not self.situation.pipelining or not (self.binding_required or self.allowed == {"scram-sha-256"}):
            return None
        lists = ((PLUS, SCRAM), (SCRAM,), (PLUS,))
        answers = {self.mechanism(offered, encrypted=encrypted) for offered in lists}
        mechanisms = [answer for answer in answers if isinstance(answer, Mechanism)]
        return mechanisms[0] if len(mechanisms) == 1 else None

    def must_pipeline(self, *, encrypted: bool) -> bool:
        """Return True if the policy leaves one mechanism regardless of the server's certificate."""
        return not encrypted or self.situation.channel_binding != "prefer"


class Oracle:
    """The observed state of one connect. Its attributes are immutable values, so a copy is cheap."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._number = -1  # index of the entry of the plan
        self._ssl_requests = self._handshakes = 0
        #: ``closed``, ``open``, ``requested`` (SSLRequest sent), ``tls`` (must begin now), ``startup`` (StartupMessage
        #: is expected), ``authenticating``, ``starting`` (AuthenticationOk received), ``ready``, ``failed``
        self._stage = "closed"
        self._why = ""
        self._reconnect: str | None = "next"  # the "next" entry of the plan
        self.encrypted = False
        self._reset()

    def _reset(self) -> None:
        self._buffer = b""
        self._owed: bytes | None = None  # the data that the client must send next
        self._warned: bool | None = None  # whether it must have a warning; `None`: either is allowed
        self._method: str | None = None  # the requested method
        self._mechanism: Mechanism | None = None
        self._pipelined: Mechanism | None = None
        self._proof_asked = self._server_proven = self._derived = False
        self.auth_message = b""
        self._parameters: tuple[tuple[str, str], ...] = ()
        self._key_data = 0, b""
        self._version = self._rules.requested

    def copy(self) -> Oracle:
        """Return an oracle with the same state."""
        other = object.__new__(Oracle)
        other.__dict__.update(self.__dict__)
        return other

    # Requests of the generator ----------------------------------------------------------------------------------

    def connects(self, request: Connect) -> None:
        """Check a `Connect`."""
        if self._reconnect is None:
            raise Violation(f"another connection, although {self._why or 'nothing failed'}")
        self._number += 1
        if request.endpoint.host != self._rules.host:
            raise Violation(f"connection to {request.endpoint.host!r}")
        self._stage, self._why, self._reconnect, self.encrypted = "open", "", None, False
        self._reset()
        if self._attempt == "plain":
            self._stage = "startup"
        elif self._rules.direct:
            self._stage = "tls"

    def sends(self, request: Send) -> None:
        """Check a `Send`."""
        data = request.data
        if self._stage == "open":
            if data != SSL_REQUEST:
                raise Violation(f"{_name(data)} sent in place of SSLRequest")
            self._stage = "requested"
        elif self._stage == "startup":
            self._startup(data)
            self._stage = "authenticating"
        elif data != self._owed:
            expected = "nothing" if self._owed is None else _name(self._owed)
            reason = f", because {self._why}" if self._why else ""
            raise Violation(f"{_name(data)} sent where {expected} is due{reason}")
        else:
            if self._warned is not None and self._warned is not (request.warning is not None):
                raise Violation(f"{_name(data)} sent {'without' if self._warned else 'with'} a warning")
            self._owed = None
            self._advance()

    def answers_ssl_request(self) -> bytes | None:
        """Check a wait for bytes; return the server's answer to SSLRequest, or `None` if a symbol is expected."""
        if self._stage == "requested":
            answers = self._rules.situation.transport.answers
            answer = answers[min(self._ssl_requests, len(answers) - 1)]
            self._ssl_requests += 1
            if answer == b"S":
                self._stage = "tls"
            elif answer == b"N" and self._attempt == "either":
                self._stage = "startup"
            else:
                # "S" and plain text is a failed TLS handshake.
                follows = answer[:1] == b"S" and self._number + 1 < len(self._rules.plan)
                self._fail(f"the server answered SSLRequest with {answer!r}", "next" if follows else None)
            return answer
        if self._stage not in ("authenticating", "starting") or self._owed is not None:
            due = _name(self._owed) if self._owed else self._why or self._stage
            raise Violation(f"wait for the server, although: {due}")
        return None

    def starts_tls(self, request: StartTls) -> TlsFacts | Callable[[], Error]:
        """Check a `StartTls`; return the facts, or a function that returns the error to throw."""
        if self._stage != "tls":
            raise Violation(f"TLS begins in the stage {self._stage!r}")
        if request.server_hostname != HOST or request.parameters.verify.value != self._rules.verified(encrypted=True):
            raise Violation(f"TLS begins with {request}")
        if request.binding_type not in (self._rules.situation.channel.binding_type, None):
            raise Violation(f"TLS begins with {request}")
        outcomes = self._rules.situation.transport.handshakes
        outcome = outcomes[min(self._handshakes, len(outcomes) - 1)]
        self._handshakes += 1
        after_tls = "next" if self._attempt == "either" and self._number + 1 < len(self._rules.plan) else None
        if outcome != "done":
            self._fail("the TLS handshake failed", after_tls)
            if outcome == "certificate":
                return lambda: CertificateError("certificate verify failed", reason="untrusted")
            return lambda: TlsError("handshake failure")
        self.encrypted, self._stage = True, "startup"
        if not self._rules.alpn_is_right:
            self._fail("the server selected another protocol", after_tls)
        elif self._rules.pin_fails:
            self._fail("the certificate is not the pinned one, or was not proven")
        return self._rules.facts

    def derives(self, request: Derive) -> ScramKeys:
        """Check a `Derive`."""
        due = self._owed is not None and self._proof_asked and not self._derived
        if not due or self._rules.has_keys:
            raise Violation(f"SCRAM keys derived where none are due{self._why and ', because ' + self._why}")
        if (request.password, request.salt, request.iterations) != (PASSWORD.encode(), SALT, ITERATIONS):
            raise Violation(f"SCRAM keys derived from other values: {request}")
        self._derived = True
        return _KEYS

    def returns(self, established: Established) -> None:
        """Check a session that is ready."""
        if self._stage != "ready":
            raise Violation(
                f"the session is ready in the stage {self._stage!r}{self._why and ', although ' + self._why}"
            )
        self._check_policy()
        bound = self._mechanism is not None and self._mechanism.flag == "p"
        expected = {
            "method": self.method,
            "gs2_flag": self._mechanism.flag if self._mechanism is not None else None,
            "channel_binding_type": self._rules.situation.channel.binding_type or "tls-server-end-point"
            if bound
            else None,
            "scram_iterations": ITERATIONS if self._mechanism is not None else None,
            "server_authenticated": self._mechanism is not None,
        }
        for name, value in expected.items():
            if getattr(established.authenticated, name) != value:
                raise Violation(f"authenticated.{name} is {getattr(established.authenticated, name)!r}, not {value!r}")
        others: dict[str, Any] = {
            "facts": self._rules.facts if self.encrypted else None,
            "pin": PIN if self.encrypted and self._rules.pinned else None,
            "negotiation": ("direct" if self._rules.direct else "postgres") if self.encrypted else None,
            "parameters": dict(self._parameters),
            "process_id": self._key_data[0],
            "secret_key": self._key_data[1],
            "protocol_version": "3.0" if self._version == V3_0 else "3.2",
            "unsupported_options": (),
        }
        for name, value in others.items():
            if getattr(established, name) != value:
                raise Violation(f"{name} is {getattr(established, name)!r}, not {value!r}")
        if established.verified.value != self._rules.verified(encrypted=self.encrypted):
            raise Violation(f"verified is {established.verified}")

    def raises(self, error: Error) -> None:
        """Check an error of the library."""
        if self._stage != "failed":
            raise Violation(f"an error without a reason: {error!r}")
        if self._reconnect == "next":
            raise Violation(f"no other connection, although {self._why}: {error!r}")
        if PASSWORD in str(error):
            raise Violation("the password is part of an error")

    # Bytes of the server ------------------------------------------------------------------------------------------

    def receives(self, data: bytes | None) -> None:
        """Process the result of one read: bytes, the end of the stream, or `None` for a failure of the connection."""
        if not data:
            self._fail("the connection ended")
            return
        self._buffer += data
        self._advance()

    def _advance(self) -> None:
        while self._stage in ("authenticating", "starting") and self._owed is None:
            message = self._next_message()
            if message is None:
                return
            kind, payload = message
            if kind == b"E":
                self._error_response(payload)
            elif kind == b"N":
                continue
            elif kind == b"v":
                self._negotiate(payload)
            elif self._stage == "starting":
                self._start(kind, payload)
            elif kind == b"R" and len(payload) >= 4:
                self._request(struct.unpack("!I", payload[:4])[0], payload[4:])
            else:
                self._fail(f"the server sent {kind!r} while authenticating")

    def _next_message(self) -> tuple[bytes, bytes] | None:
        kind, header = self._buffer[:1], self._buffer[1:5]
        if kind and kind not in b"RENSKZv":
            self._fail("the server sent a message of an unknown type")
            return None
        if len(header) < 4:
            return None
        (length,) = struct.unpack("!I", header)
        if kind == b"E" and header[0] >= ord(" "):  # protocol 2: text in place of a length
            text, end, rest = self._buffer[1:].partition(b"\0")
            if not end:
                return None
            self._buffer = rest
            return kind, b"C53000\0M" + text + b"\0\0"
        if not 4 <= length <= _LONGEST:
            self._fail("the server sent an impossible length")
            return None
        if len(self._buffer) < 1 + length:
            return None
        payload, self._buffer = self._buffer[5 : 1 + length], self._buffer[1 + length :]
        return kind, payload

    def _negotiate(self, payload: bytes) -> None:
        is_first = self._stage == "authenticating" and self._method is None and self._version == self._rules.requested
        if is_first and self._rules.allows_older and payload == struct.pack("!II", V3_0, 0):
            self._version = V3_0
        else:
            self._fail("the server sent an invalid NegotiateProtocolVersion")

    def _start(self, kind: bytes, payload: bytes) -> None:
        if kind == b"S":
            name, value, _ = payload.decode().split("\0")
            self._parameters += ((name, value),)
        elif kind == b"K":
            self._key_data = struct.unpack("!I", payload[:4])[0], payload[4:]
            if self._version == V3_0 and len(payload) != 8:
                self._fail("the server sent a long key")
        elif kind == b"Z":
            self._stage = "ready"
        else:
            self._fail(f"the server sent {kind!r} after AuthenticationOk")

    def _error_response(self, payload: bytes) -> None:
        code = next(item[1:] for item in payload.split(b"\0") if item[:1] == b"C")
        flag = self._mechanism.flag if self._mechanism is not None else ""
        about_binding = code == b"28000" and (
            (flag == "p" and self._proof_asked and not self._server_proven) or (flag == "y" and not self._proof_asked)
        )
        plain_already = self._attempt == "either" and not self.encrypted
        final = self._stage == "starting" or code == b"57P03" or about_binding or plain_already
        follows = self._number + 1 < len(self._rules.plan) and not final
        self._fail("the server sent an ErrorResponse", "next" if follows else None)

    def _request(self, code: int, body: bytes) -> None:
        if code not in (10, 11, 12) and len(body) + 8 > _LONGEST_REQUEST:
            self._fail("the server sent an authentication request of impossible length")
        elif code == 0:
            self._authentication_ok()
        elif code in (3, 5, 10) and (self._method is not None):
            self._fail("the server sent a second authentication request")
        elif code == 3:
            self._password("password", PASSWORD.encode())
        elif code == 5 and body == MD5_SALT:
            self._password("md5", MD5_RESPONSE)
        elif code == 10:
            self._mechanisms(body)
        elif code == 11 and self._mechanism is not None and not self._proof_asked and body == VALID_SERVER_FIRST:
            self._prove(self._mechanism)
        elif code == 12 and self._proof_asked and not self._server_proven and self._is_signed(body):
            self._server_proven = True
        else:
            self._fail(f"the server sent an invalid authentication request, {code}")

    def _is_signed(self, body: bytes) -> bool:
        return body == b"v=" + server_signature(self.auth_message)

    def _authentication_ok(self) -> None:
        try:
            self._check_policy()
        except Violation as violation:
            self._fail(str(violation))
        else:
            self._stage = "starting"

    def _check_policy(self) -> None:
        """Raise `Violation` if the session is not allowed, at AuthenticationOk and again when the session is ready."""
        rules = self._rules
        if self._mechanism is not None and not self._server_proven:
            raise Violation("the server has not proven that it knows the password")
        if self.method.removesuffix("-plus") not in rules.allowed:
            raise Violation(f"require_auth forbids {self.method!r}")
        if rules.binding_required and self.method != "scram-sha-256-plus":
            raise Violation("the channel is not bound")
        if rules.client_certificate_fails or (rules.situation.client_certificate.required and not self.encrypted):
            raise Violation("the client certificate was not used")
        if rules.plan == ("tls",) and not self.encrypted:
            raise Violation("the connection is not encrypted")

    @property
    def method(self) -> str:
        """The authentication method of this connection, as `SecurityReport.auth_method` names it."""
        return self._mechanism.name.lower() if self._mechanism is not None else self._method or "none"

    @property
    def is_pipelined(self) -> bool:
        """SCRAM began together with the StartupMessage."""
        return self._pipelined is not None

    @property
    def connections(self) -> int:
        """The number of used entries of the plan."""
        return self._number + 1

    def _password(self, method: str, response: bytes) -> None:
        rules = self._rules
        trusted = rules.trusts(encrypted=self.encrypted)
        if method not in rules.allowed:
            self._fail(f"require_auth forbids {method!r}")
        elif rules.binding_required:
            self._fail("the method cannot bind the channel")
        elif method == "password" and not trusted and not rules.names_cleartext:
            self._fail("the server is not trusted")
        elif not rules.has_password:
            self._fail("a password is missing")
        else:
            self._method = method
            self._owed = frame(b"p", response + b"\0")
            self._warned = not trusted if method == "md5" else None

    def _mechanisms(self, body: bytes) -> None:
        if not body.endswith(b"\0"):
            self._fail("the list of mechanisms is malformed")
            return
        offered = tuple(name.decode() for name in body.split(b"\0") if name)
        mechanism = self._rules.mechanism(offered, encrypted=self.encrypted)
        if isinstance(mechanism, str):
            self._fail(mechanism)
            return
        self._method, self._mechanism = "scram-sha-256", mechanism
        if self._pipelined is None:
            self._owed = mechanism.initial_response
            self._warned = mechanism.warned
        elif self._pipelined != mechanism:
            self._fail("another mechanism was begun already")

    def _prove(self, mechanism: Mechanism) -> None:
        without_proof = client_final_without_proof(mechanism.gs2_header, mechanism.cbind_data)
        self.auth_message = b",".join((mechanism.client_first_message_bare, VALID_SERVER_FIRST, without_proof))
        self._owed = frame(b"p", without_proof + b",p=" + client_proof(self.auth_message))
        self._warned = None
        self._proof_asked = True

    def _startup(self, data: bytes) -> None:
        """Check StartupMessage, and a SASLInitialResponse behind it."""
        if len(data) < 8:
            raise Violation(f"{_name(data)} sent in place of StartupMessage")
        length, version = struct.unpack("!II", data[:8])
        pairs = data[8 : max(length - 2, 8)].split(b"\0")
        parameters = dict(zip(pairs[::2], pairs[1::2], strict=False))
        if (
            version != self._rules.requested
            or set(parameters) != _STARTUP_PARAMETERS
            or parameters[b"user"] != USER.encode()
        ):
            raise Violation(f"{_name(data)} sent in place of StartupMessage")
        only = self._rules.pipelined(encrypted=self.encrypted)
        if data[length:]:
            if only is None or data[length:] != only.initial_response:
                raise Violation(f"{_name(data[length:])} sent together with StartupMessage")
            self._pipelined = only
        elif only is not None and self._rules.must_pipeline(encrypted=self.encrypted):
            raise Violation("StartupMessage sent without the only possible SASLInitialResponse")

    # Helpers ------------------------------------------------------------------------------------------------------

    @property
    def _attempt(self) -> str:
        return self._rules.plan[self._number]

    def _fail(self, why: str, reconnect: str | None = None) -> None:
        """Expect an error of the generator, or the connection that the rules allow next."""
        self._stage, self._why, self._reconnect = "failed", why, reconnect
        self._owed = None


def _name(data: bytes) -> str:
    """Describe sent data by the most sensitive content in it."""
    if any(secret in data for secret in NEVER_SENT):
        return "a key of SCRAM"
    if PASSWORD.encode() in data:
        return "the cleartext password"
    if data[5:8] == b"md5":
        return "an md5 digest"
    if data[:1] == b"p" and b",p=" in data:
        return "a SCRAM proof"
    if data[:1] == b"p" and b",,n=" in data:
        return f"client-first-message {data[5:].partition(bytes(1))[2][4:]!r}"
    if data[4:6] == b"\0\3":
        return "StartupMessage"
    return "SSLRequest" if data == SSL_REQUEST else f"{data[:40]!r}"
