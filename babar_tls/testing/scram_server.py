"""A server that supports every registered channel-binding type. PostgreSQL supports only tls-server-end-point.

::

    with ScramServer({"app": "secret"}, authority.issue("localhost", "127.0.0.1")) as server:
        ...log in at (server.host, server.port) with tls-exporter...
    assert server.logins[0].channel_binding_type == "tls-exporter"
    assert not server.errors

It implements the part of PostgreSQL's protocol that a login needs, and answers ``select 1``. A refused login gets the
SQLSTATE of PostgreSQL 17.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from babar_tls.config.enums import CHANNEL_BINDING_TYPES, ProtocolVersion
from babar_tls.errors import AuthError, ConfigError, ProtocolError
from babar_tls.protocol import scram
from babar_tls.testing._backend_protocol import (
    PROTOCOL_VIOLATION,
    RefusedError,
    answer_queries,
    get_ready,
    negotiate_version,
    parse_sasl_initial_response,
    parse_startup,
    receive_sasl_response,
    send_fatal,
    send_request,
)
from babar_tls.testing._scram_secrets import Secrets
from babar_tls.testing._server_tls import ServerTls, accept_tls
from babar_tls.testing.peers import ScriptedPeer, ScriptedServer

if TYPE_CHECKING:
    import ssl
    from collections.abc import Collection, Mapping

    from babar_tls.testing.certificates import ServerCertificate


_MECHANISMS = (scram.SCRAM_SHA_256_PLUS, scram.SCRAM_SHA_256)
#: The binding types that a TLS library can provide to a server.
_BINDINGS = {"stdlib": ("tls-server-end-point", "tls-unique"), "openssl": CHANNEL_BINDING_TYPES}
_SASL, _SASL_CONTINUE, _SASL_FINAL = 10, 11, 12

#: PostgreSQL 17's SQLSTATEs for the errors of `babar_tls.protocol.scram.ScramServer`; other errors are protocol
#: violations.
_SQLSTATES = {
    "SCRAM channel binding negotiation error": "28000",
    "SCRAM channel binding check failed": "28000",
    "password authentication failed": "28P01",
}


@dataclass(frozen=True)
class ScramLogin:
    """An accepted login.

    Attributes:
        user: From the StartupMessage.
        mechanism: The SASL mechanism that the client chose.
        gs2_flag: ``n``, ``y`` or ``p`` (RFC 5802 §6).
        channel_binding_type: The binding type; `None` without ``p``.
        tls_version: ``TLSv1.2`` or ``TLSv1.3``.
    """

    user: str
    mechanism: str
    gs2_flag: str
    channel_binding_type: str | None
    tls_version: str


@dataclass(frozen=True)
class ScramRefusal:
    """A refused login.

    Attributes:
        user: From the StartupMessage; empty if it has no user.
        sqlstate: The SQLSTATE that was sent to the client.
        message: The message that was sent to the client.
    """

    user: str
    sqlstate: str
    message: str


class ScramServer(ScriptedServer):
    """A server for tests, with TLS and only SCRAM-SHA-256(-PLUS).

    ``SCRAM-SHA-256-PLUS`` is offered if the connection has one of the accepted bindings. Then a client with the flag
    ``y`` (the server did not offer channel binding) is refused (RFC 5802 §6).

    Args:
        roles: By name, a password, a verifier (``SCRAM-SHA-256$…``), or `None` for no password. Without a password,
            every login fails, as for a role that does not exist.
        certificate: The server's certificate.
        mechanisms: The mechanisms to offer.
        channel_bindings: The binding types to accept. Default: all that the TLS library can provide.
        iterations: PBKDF2 iterations of passwords, and of roles that do not exist.
        minimum_version: The oldest TLS version.
        maximum_version: The newest.
        max_protocol_version: The newest version of PostgreSQL's protocol, ``3.0`` or ``3.2``.
        tls_backend: ``openssl`` (pyOpenSSL, needed for tls-exporter) or ``stdlib``. Default: ``openssl`` if it is
            installed or `channel_bindings` names tls-exporter.
        host: The address to listen on.
        timeout: How long any wait may take, in seconds.

    Attributes:
        tls_backend: The TLS backend.
        logins: The accepted logins, in order.
        refusals: The refused logins.

    Raises:
        ConfigError: An argument is invalid.
        ImportError: pyOpenSSL is needed and not installed.
    """

    def __init__(
        self,
        roles: Mapping[str, str | bytes | None],
        certificate: ServerCertificate,
        *,
        mechanisms: Collection[str] = _MECHANISMS,
        channel_bindings: Collection[str] | None = None,
        iterations: int = 4096,
        minimum_version: ssl.TLSVersion | None = None,
        maximum_version: ssl.TLSVersion | None = None,
        max_protocol_version: Literal["3.0", "3.2"] = "3.2",
        tls_backend: Literal["stdlib", "openssl"] | None = None,
        host: str = "127.0.0.1",
        timeout: float = 10.0,
    ) -> None:
        super().__init__(self._converse, host=host, timeout=timeout)
        self.tls_backend: str = tls_backend or _default_backend(channel_bindings)
        self.logins: list[ScramLogin] = []
        self.refusals: list[ScramRefusal] = []
        self._secrets = Secrets(roles, iterations)
        self._certificate = certificate
        self._mechanisms = tuple(mechanisms)
        _check_names("protocol version", [max_protocol_version], ("3.0", "3.2"))
        self._newest = ProtocolVersion(max_protocol_version).number
        self._versions = {"minimum_version": minimum_version, "maximum_version": maximum_version}
        _check_names("mechanism", self._mechanisms, _MECHANISMS)
        if not self._mechanisms:
            raise ConfigError("mechanisms is empty", remedy=f"Set mechanisms to one or more of {_MECHANISMS}.")
        _check_names("TLS backend", [self.tls_backend], tuple(_BINDINGS))
        possible = _BINDINGS[self.tls_backend]
        _check_names(f"channel binding type for the TLS backend {self.tls_backend}", channel_bindings or (), possible)
        self._bindings = frozenset(possible if channel_bindings is None else channel_bindings)
        if self.tls_backend == "openssl":
            # Raise ImportError here, not in the thread of the first connection.
            importlib.import_module("babar_tls.testing._openssl_peer")

    def _converse(self, peer: ScriptedPeer) -> None:
        tls = accept_tls(peer, self._certificate, backend=self.tls_backend, **self._versions)
        user = ""
        try:
            packet = tls.peer.receive_startup()
            startup = parse_startup(packet)
            if startup is None:
                return  # CancelRequest
            user = startup.get("user", "")
            version = negotiate_version(tls.peer, packet, self._newest)
            self._authenticate(tls, user)
        except RefusedError as exc:
            self.refusals.append(ScramRefusal(user, exc.sqlstate, exc.message))
            send_fatal(tls.peer, exc.sqlstate, exc.message)
            return
        get_ready(tls.peer, version)
        answer_queries(tls.peer)

    def _authenticate(self, tls: ServerTls, user: str) -> None:
        if not user:
            raise RefusedError("28000", "no PostgreSQL user name specified in startup packet")
        bindings = {name: data for name, data in tls.bindings.items() if name in self._bindings}
        offered = [name for name in self._mechanisms if name != scram.SCRAM_SHA_256_PLUS or bindings]
        if not offered:
            raise RefusedError("28000", "the connection has no channel binding of an accepted type")
        if scram.SCRAM_SHA_256_PLUS not in offered:
            bindings = {}
        secret = self._secrets.of(user)
        exchange = scram.ScramServer(secret.keys, secret.salt, secret.iterations, channel_binding=bindings)
        send_request(tls.peer, _SASL, b"".join(name.encode() + b"\0" for name in offered) + b"\0")
        mechanism, first = parse_sasl_initial_response(receive_sasl_response(tls.peer))
        if mechanism not in offered:
            raise RefusedError(PROTOCOL_VIOLATION, "client selected an invalid SASL authentication mechanism")
        try:
            send_request(tls.peer, _SASL_CONTINUE, exchange.server_first_message(mechanism, first))
            final = exchange.server_final_message(receive_sasl_response(tls.peer))
        except (AuthError, ProtocolError) as exc:
            raise _refusal(exc.message, user) from exc
        flag, binding_type = gs2_flag(first)
        self.logins.append(ScramLogin(user, mechanism, flag, binding_type, tls.version))
        send_request(tls.peer, _SASL_FINAL, final)


def gs2_flag(client_first_message: bytes) -> tuple[str, str | None]:
    """Return the letter of the gs2-cbind-flag, and the type after ``p`` (RFC 5802 §7), of a valid message."""
    letter, _, binding_type = client_first_message.partition(b",")[0].decode("ascii", "replace").partition("=")
    return letter, binding_type or None


def _default_backend(channel_bindings: Collection[str] | None) -> str:
    if channel_bindings is None:
        return "openssl" if find_spec("OpenSSL") is not None else "stdlib"
    return "openssl" if "tls-exporter" in channel_bindings else "stdlib"


def _check_names(kind: str, names: Collection[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            raise ConfigError(f"unknown {kind}: {name!r}", remedy=f"Known: {', '.join(known)}.")


def _refusal(message: str, user: str) -> RefusedError:
    sqlstate = _SQLSTATES.get(message, PROTOCOL_VIOLATION)
    return RefusedError(sqlstate, f'{message} for user "{user}"' if sqlstate == "28P01" else message)
