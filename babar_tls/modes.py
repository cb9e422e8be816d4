"""The words that a configuration is made of: modes, levels, versions, methods."""

from __future__ import annotations

from enum import Enum

from .errors import ConfigError

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


def parse_require_auth(text: str | None) -> frozenset[str] | None:
    """Read `require_auth`: the set of methods that it allows, or `None` where it says nothing.

    Raises:
        ConfigError: An unknown or repeated method, or negated and plain methods mixed.
    """
    if not text:
        return None
    names = [name.strip() for name in text.split(",")]
    negated = [name.startswith("!") for name in names]
    if any(negated) and not all(negated):
        raise ConfigError(f'require_auth "{text}" mixes methods with negated methods')
    methods = [name.removeprefix("!") for name in names]
    for method in methods:
        if method not in AUTH_METHODS:
            raise ConfigError(
                f'invalid require_auth value: "{method}"', remedy=f"Known methods: {', '.join(AUTH_METHODS)}."
            )
        if methods.count(method) > 1:
            raise ConfigError(f'require_auth method "{method}" is specified more than once')
    return frozenset(AUTH_METHODS) - set(methods) if negated[0] else frozenset(methods)
