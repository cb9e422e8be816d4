"""The words that a configuration is made of: modes, levels, versions, methods."""

from __future__ import annotations

from enum import Enum

from ..errors import ConfigError

#: What `require_auth` may name, in libpq's words; `none` is a server that asks for nothing.
AUTH_METHODS = ("password", "md5", "gss", "sspi", "scram-sha-256", "oauth", "none")

#: The registered channel binding types (RFC 5929, RFC 9266). PostgreSQL accepts the first.
CHANNEL_BINDING_TYPES = ("tls-server-end-point", "tls-exporter", "tls-unique")


class TlsMode(Enum):
    """Whether to use TLS. Unix-domain sockets never do."""

    DISABLE = "disable"
    """Never ask for TLS."""
    ALLOW = "allow"
    """libpq's ``sslmode=allow``: plain first, TLS on a new connection if the server refuses that."""
    PREFER = "prefer"
    """Ask; go on in plain TCP if, and only if, the server answers that it has no TLS (see `Config.tls_fallback`)."""
    REQUIRE = "require"
    """TLS or no connection."""


class TlsVerify(Enum):
    """What is verified of the server's certificate."""

    FULL = "full"
    """The chain up to a trusted root, and the name."""
    CA = "ca"
    """The chain alone: any certificate of that authority will do."""
    NONE = "none"
    """Nothing. Only channel binding then tells a man in the middle from the server."""


class ChannelBinding(Enum):
    """Whether SCRAM is bound to the TLS channel (RFC 5802 §6)."""

    DISABLE = "disable"
    PREFER = "prefer"
    REQUIRE = "require"


class TlsNegotiation(Enum):
    """How TLS starts."""

    POSTGRES = "postgres"
    """SSLRequest first; every server understands it."""
    DIRECT = "direct"
    """TLS from the first byte, with ALPN ``postgresql``: one round trip less; PostgreSQL 17 and later."""


class TlsVersion(Enum):
    """A TLS protocol version; the values are libpq's spelling."""

    TLSV1_2 = "TLSv1.2"
    TLSV1_3 = "TLSv1.3"


class ClientCertMode(Enum):
    """libpq's ``sslcertmode``: whether to present a client certificate."""

    DISABLE = "disable"
    """Never, even if there is one."""
    ALLOW = "allow"
    """If the server asks and there is one."""
    REQUIRE = "require"
    """The server must ask, and there must be one to answer with: a server that lets us in without is refused."""


class TargetSessionAttrs(Enum):
    """What a session must be like for its server to be the one wanted."""

    ANY = "any"
    READ_WRITE = "read-write"
    """Transactions may write by default."""
    READ_ONLY = "read-only"
    """They may not."""
    PRIMARY = "primary"
    """The server is not a standby."""
    STANDBY = "standby"
    """It is one."""
    PREFER_STANDBY = "prefer-standby"
    """A standby if any of the hosts is one, else any of them."""


class LoadBalanceHosts(Enum):
    """In which order hosts, and the addresses of each, are tried."""

    DISABLE = "disable"
    """As given."""
    RANDOM = "random"
    """Shuffled for each connect."""


def parse_require_auth(text: str | None) -> frozenset[str] | None:
    """Return the authentication methods that `require_auth` allows; None if it is empty, which allows all.

    Raises:
        ConfigError: A method is unknown or repeated, or negated and other methods are mixed.
    """
    if not text:
        return None
    names = text.split(",")
    negated = names[0].startswith("!")
    methods: list[str] = []
    for name in names:
        method = name.removeprefix("!")
        if name.startswith("!") is not negated:
            what, others = ("", "negative") if negated else ("negative ", "non-negative")
            raise ConfigError(
                f'{what}require_auth method "{name}" cannot be mixed with {others} methods',
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
