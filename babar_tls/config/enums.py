"""The enums of a configuration, and the names of authentication methods and channel binding types."""

from __future__ import annotations

from enum import Enum
from typing import Literal, TypeAlias, get_args

from ..errors import ConfigError

#: The methods of `require_auth`, in libpq's spelling. ``none``: the server requests no authentication.
AUTH_METHODS = ("password", "md5", "gss", "sspi", "scram-sha-256", "oauth", "none")

ChannelBindingType: TypeAlias = Literal["tls-server-end-point", "tls-exporter", "tls-unique"]

#: The registered channel binding types (RFC 5929, RFC 9266). PostgreSQL accepts the first.
CHANNEL_BINDING_TYPES: tuple[ChannelBindingType, ...] = get_args(ChannelBindingType)


class TlsMode(Enum):
    """The policy for using TLS. Connections over Unix-domain sockets do not use it."""

    DISABLE = "disable"
    """Do not request TLS."""
    ALLOW = "allow"
    """libpq's ``sslmode=allow``: without TLS first, then with TLS on a new connection if the server refuses."""
    PREFER = "prefer"
    """Request TLS; continue without it only if the server replies that it does not support TLS (see
    `Config.tls_fallback`)."""
    REQUIRE = "require"
    """Require TLS."""


class TlsVerify(Enum):
    """The extent to which the server's certificate is verified."""

    FULL = "full"
    """The chain up to a trust anchor, and the name."""
    CA = "ca"
    """Only the chain: every certificate of a trusted CA is accepted."""
    NONE = "none"
    """No verification: only channel binding detects a man in the middle."""


class ChannelBinding(Enum):
    """The policy for binding SCRAM to the TLS channel (RFC 5802 §6)."""

    DISABLE = "disable"
    """Do not use it."""
    PREFER = "prefer"
    """Use it if the server offers it."""
    REQUIRE = "require"
    """Require it: refuse a server that does not offer it, and every method of authentication without it."""


class TlsNegotiation(Enum):
    """The start of TLS on a connection."""

    POSTGRES = "postgres"
    """SSLRequest first; every server supports it."""
    DIRECT = "direct"
    """TLS from the first byte, with ALPN ``postgresql``: one round trip less; PostgreSQL 17 and later."""


class TlsVersion(Enum):
    """A TLS protocol version; the values are libpq's spelling."""

    TLSV1_2 = "TLSv1.2"
    """RFC 5246."""
    TLSV1_3 = "TLSv1.3"
    """RFC 8446."""


class ProtocolVersion(Enum):
    """A version of PostgreSQL's frontend/backend protocol; the values are libpq's spelling."""

    V3_0 = "3.0"
    """Every server supports it."""
    V3_2 = "3.2"
    """PostgreSQL 18 and later: cancel requests with long keys, which cannot be guessed."""
    LATEST = "latest"
    """The latest version that this library supports."""

    @property
    def number(self) -> int:
        """The version as messages contain it: the major version times 65536, plus the minor version."""
        return 3 << 16 if self is ProtocolVersion.V3_0 else 3 << 16 | 2


class ClientCertMode(Enum):
    """The policy for presenting a client certificate, as libpq's ``sslcertmode``."""

    DISABLE = "disable"
    """Do not present it."""
    ALLOW = "allow"
    """Present it if it is configured and the server requests it."""
    REQUIRE = "require"
    """Require that the server requests it and that it is configured; otherwise close the connection."""


class TargetSessionAttrs(Enum):
    """The property of the session that a server must have to be selected."""

    ANY = "any"
    """Every session is accepted."""
    READ_WRITE = "read-write"
    """Transactions may write by default."""
    READ_ONLY = "read-only"
    """Transactions are read-only by default."""
    PRIMARY = "primary"
    """The server is not a standby."""
    STANDBY = "standby"
    """The server is a standby."""
    PREFER_STANDBY = "prefer-standby"
    """A standby if one of the hosts is a standby, otherwise any host."""


class LoadBalanceHosts(Enum):
    """The order in which hosts, and the addresses of each host, are tried."""

    DISABLE = "disable"
    """The order of the configuration; addresses in the order of name resolution."""
    RANDOM = "random"
    """A random order for each connection."""


def parse_require_auth(text: str | None) -> frozenset[str] | None:
    """Return the authentication methods that `require_auth` allows; None if it is empty, which allows all.

    Raises:
        ConfigError: A method is unknown or repeated, or only some of the methods are negated.
    """
    if not text:
        return None
    names = text.split(",")
    negated = names[0].startswith("!")
    methods: list[str] = []
    for name in names:
        method = name.removeprefix("!")
        if name.startswith("!") is not negated:
            prefix, others = ("", "negative") if negated else ("negative ", "non-negative")
            raise ConfigError(
                f'{prefix}require_auth method "{name}" cannot be mixed with {others} methods',
                remedy="Write require_auth with all of its methods negated by !, or with none.",
            )
        if method not in AUTH_METHODS:
            raise ConfigError(
                f'invalid require_auth value: "{method}"',
                remedy=f"Known methods of require_auth: {', '.join(AUTH_METHODS)}.",
            )
        if method in methods:
            raise ConfigError(
                f'require_auth method "{name}" is specified more than once',
                remedy="Write each method of require_auth once.",
            )
        methods.append(method)
    return frozenset(AUTH_METHODS).difference(methods) if negated else frozenset(methods)
