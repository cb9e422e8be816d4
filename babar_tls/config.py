"""`Config`: everything that decides how a connection is made, checked once and then frozen.

A combination that cannot work, or that would promise more than it can keep, cannot be built: the constructor raises
`ConfigError`. Nothing here touches the network or the file system; whether a named file exists is asked when it is
needed, because files are rotated while a program runs.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from .errors import ConfigError
from .modes import (
    AUTH_METHODS,
    CHANNEL_BINDING_TYPES,
    ChannelBinding,
    TlsMode,
    TlsNegotiation,
    TlsVerify,
    TlsVersion,
    parse_require_auth,
)
from .validation import (
    as_enum,
    as_path,
    as_settings,
    check_address,
    check_bool,
    check_file_name,
    has_surrogates,
    is_number,
    login_name,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from enum import Enum

    from .backends.base import TlsBackend

__all__ = [
    "AUTH_METHODS",
    "CHANNEL_BINDING_TYPES",
    "ChannelBinding",
    "Config",
    "TlsMode",
    "TlsNegotiation",
    "TlsVerify",
    "TlsVersion",
]


@dataclass(frozen=True, kw_only=True)
class Config:
    """How to reach a server, how to secure the channel, and how to prove who is at either end.

    Enum fields accept their values as strings too (``tls_mode="require"``). `replace` makes a changed copy.

    Attributes:
        host: Host name, IP address, or the directory of a Unix-domain socket (``/run/postgresql``, or ``@name``
            in the abstract namespace). It is the name that is verified.
        hostaddr: IP address to connect to in place of looking `host` up.
        port: TCP port, or the number in the socket's file name.
        user: Role to log in as; by default the operating system's user name.
        database: By default the server takes the user's name.
        password: `str`, or the exact `bytes` to use. Never shown by `repr`.
        application_name: What ``pg_stat_activity`` shows.
        options: Command-line options for the server (``-c statement_timeout=5s``).
        server_settings: Further startup parameters; stored as a sorted tuple of pairs.
        connect_timeout: Seconds for everything up to the ready session, `None` for no limit.
        keepalives: TCP keepalive on the connection.
        tls_mode: Whether to use TLS.
        tls_verify: What to verify of the server's certificate.
        tls_backend: A registered engine's name, or a `TlsBackend`.
        tls_negotiation: SSLRequest, or TLS from the first byte.
        tls_server_name: The name to send (SNI) and to verify where it differs from `host`.
        tls_root_cert_path: PEM bundle of roots to trust, in addition to the default ones.
        tls_default_roots: `False`: trust `tls_root_cert_path` alone.
        tls_min_version: Oldest TLS version to accept.
        tls_max_version: Newest TLS version to offer, `None` for the engine's newest.
        tls_fallback: With `TlsMode.PREFER`, let a *failed* TLS attempt be followed by a plain one on a new
            connection, as libpq's ``sslmode=prefer`` does. An attacker can cause that failure.
        channel_binding: Whether SCRAM is bound to the channel.
        channel_binding_type: One of `CHANNEL_BINDING_TYPES`, by default the first.
        scram_key_cache: Keep derived SCRAM keys in memory, so that reconnecting costs no PBKDF2.
        scram_client_key: 32 bytes to use in place of a password, together with `scram_server_key`.
        scram_server_key: 32 bytes that prove the server.
        scram_max_iterations: Refuse a server that asks for more PBKDF2 iterations.
        require_auth: libpq's grammar: methods of `AUTH_METHODS` separated by commas, or all negated with ``!``.

    Raises:
        ConfigError: A value is out of range, or two contradict each other.
    """

    host: str = "localhost"
    hostaddr: str | None = None
    port: int = 5432
    user: str = ""
    database: str | None = None
    password: str | bytes | None = field(default=None, repr=False)
    application_name: str | None = None
    options: str | None = None
    server_settings: Mapping[str, str] | Iterable[tuple[str, str]] = ()
    connect_timeout: float | None = 10.0
    keepalives: bool = True
    tls_mode: TlsMode = TlsMode.REQUIRE
    tls_verify: TlsVerify = TlsVerify.FULL
    tls_backend: str | TlsBackend = "stdlib"
    tls_negotiation: TlsNegotiation = TlsNegotiation.POSTGRES
    tls_server_name: str | None = None
    tls_root_cert_path: str | None = None
    tls_default_roots: bool = True
    tls_min_version: TlsVersion = TlsVersion.TLSV1_2
    tls_max_version: TlsVersion | None = None
    tls_fallback: bool = False
    channel_binding: ChannelBinding = ChannelBinding.PREFER
    channel_binding_type: str | None = None
    scram_key_cache: bool = True
    scram_client_key: bytes | None = field(default=None, repr=False)
    scram_server_key: bytes | None = field(default=None, repr=False)
    scram_max_iterations: int = 10_000_000
    require_auth: str | None = None

    def __post_init__(self) -> None:
        for name, enum in _ENUMS.items():
            self._set(name, as_enum(name, enum, getattr(self, name)))
        self._set("server_settings", as_settings(self.server_settings))
        if self.tls_root_cert_path is not None:
            self._set("tls_root_cert_path", as_path("tls_root_cert_path", self.tls_root_cert_path))
        for name in ("keepalives", "tls_default_roots", "tls_fallback", "scram_key_cache"):
            check_bool(name, getattr(self, name))
        self._set("hostaddr", self.hostaddr or None)
        self._check_endpoint()
        if not self.user:
            self._set("user", login_name())
        self._check_startup()
        self._check_tls()
        self._check_authentication()

    @classmethod
    def from_conninfo(cls, conninfo: str, /, *, allow_files: bool = True, **overrides: Any) -> Config:
        """Build a `Config` from a libpq URI or keyword string, with libpq's meaning.

        Args:
            conninfo: ``postgresql://user@host/db?sslmode=verify-full`` or ``host=… user=…``.
            allow_files: `False` for a string from somebody you do not trust: keys that name files are refused.
            **overrides: Fields of `Config` that replace what the string says.

        Raises:
            ConfigError: The string is malformed, has an unknown key, or asks for the impossible.
        """
        from .conninfo import config_fields  # noqa: PLC0415 - conninfo builds on this module

        fields = config_fields(conninfo, allow_files=allow_files)
        if "tls_mode" in overrides:
            fields.pop("tls_fallback", None)  # a part of what the string's sslmode means
        return cls(**{**fields, **overrides})

    def replace(self, **changes: Any) -> Config:
        """A copy with `changes`, checked like a new one; `tls_fallback` goes with the `tls_mode` it came with."""
        if "tls_mode" in changes:
            changes.setdefault("tls_fallback", False)
        return dataclasses.replace(self, **changes)

    @property
    def is_unix_socket(self) -> bool:
        """`host` is a directory of the file system or an abstract name, not a host."""
        return self.hostaddr is None and self.host[:1] in ("/", "@")

    @property
    def settings(self) -> tuple[tuple[str, str], ...]:
        """`server_settings` as they are stored: pairs, sorted by name."""
        return cast("tuple[tuple[str, str], ...]", self.server_settings)

    @property
    def allowed_auth(self) -> frozenset[str] | None:
        """The methods that `require_auth` lets through, `None` where it is not set."""
        return parse_require_auth(self.require_auth)

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _check_endpoint(self) -> None:
        if not self.host:
            raise ConfigError("host is empty", remedy="Name a host, an address or a socket directory.")
        if isinstance(self.port, bool) or not isinstance(self.port, int) or not 1 <= self.port <= 65535:
            raise ConfigError(f'invalid port number: "{self.port}"', remedy="A port is a whole number from 1 to 65535.")
        check_address(self.hostaddr)
        timeout = self.connect_timeout
        if timeout is not None and not (is_number(timeout) and 0 < timeout < math.inf):
            raise ConfigError(
                f"connect_timeout must be a positive number of seconds, not {timeout!r}",
                remedy="Use None to wait without limit.",
            )

    def _check_startup(self) -> None:
        pairs = [("host", self.host), ("hostaddr", self.hostaddr), ("user", self.user), ("database", self.database)]
        pairs += [("application_name", self.application_name), ("options", self.options)]
        for name, value in [*pairs, *self.settings]:
            if value is not None and not isinstance(value, str):
                raise ConfigError(f"{name} must be a str, not {type(value).__name__}")
            if "\0" in name or (value and "\0" in value):
                raise ConfigError(f"{name!r} contains a zero byte, which the protocol cannot carry")
            if name == "host" and self.is_unix_socket:
                check_file_name(name, self.host)
            elif has_surrogates(name) or (value and has_surrogates(value)):
                raise ConfigError(f"{name!r} contains a lone surrogate, which UTF-8 cannot carry")
        for name, value in self.settings:
            if name in ("user", "database", "application_name", "options"):
                raise ConfigError(f"server_settings may not contain {name!r}", remedy=f"Use Config({name}=…).")
            if name == "client_encoding" and value.upper().replace("-", "") not in ("UTF8", "UNICODE"):
                raise ConfigError(f"client_encoding {value!r} is not supported", remedy="This library speaks UTF8.")
            if not name or name.startswith("_pq_."):
                raise ConfigError(f"server_settings may not contain {name!r}")

    def _check_tls(self) -> None:
        if not isinstance(self.tls_backend, str) and not hasattr(self.tls_backend, "wrap"):
            raise ConfigError("tls_backend must be a registered name or a TlsBackend")
        if self.tls_max_version is TlsVersion.TLSV1_2 and self.tls_min_version is TlsVersion.TLSV1_3:
            raise ConfigError("tls_min_version is newer than tls_max_version")
        if self.tls_negotiation is TlsNegotiation.DIRECT and self.tls_mode is not TlsMode.REQUIRE:
            raise ConfigError(
                f'weak sslmode "{self.tls_mode.value}" may not be used with sslnegotiation=direct '
                '(use "require", "verify-ca", or "verify-full")'
            )
        if self.tls_fallback and self.tls_mode is not TlsMode.PREFER:
            raise ConfigError("tls_fallback belongs to TlsMode.PREFER")
        if self.tls_verify is not TlsVerify.NONE and not self.tls_default_roots and self.tls_root_cert_path is None:
            raise ConfigError(
                "there is nothing to verify the server with: no default roots and no tls_root_cert_path",
                remedy="Set tls_root_cert_path, leave tls_default_roots on, or use TlsVerify.NONE.",
            )
        name = self.tls_server_name
        if name is not None and (not isinstance(name, str) or not name or "\0" in name):
            raise ConfigError("tls_server_name is no str, is empty or contains a zero byte")

    def _check_authentication(self) -> None:
        if self.channel_binding_type not in (None, *CHANNEL_BINDING_TYPES):
            raise ConfigError(
                f"unknown channel binding type {self.channel_binding_type!r}",
                remedy=f"Known types: {', '.join(CHANNEL_BINDING_TYPES)}.",
            )
        if self.channel_binding is ChannelBinding.REQUIRE:
            if self.tls_mode is TlsMode.DISABLE or self.is_unix_socket:
                where = "a Unix-domain socket has no TLS" if self.is_unix_socket else "TLS is disabled"
                raise ConfigError(
                    f"channel binding required, but SSL not in use ({where})",
                    remedy="Ask for TLS (sslmode=verify-full) or drop channel_binding=require.",
                )
            if self.channel_binding_type == "tls-unique" and self.tls_min_version is TlsVersion.TLSV1_3:
                raise ConfigError("tls-unique is not defined for TLS 1.3, which is the oldest version allowed")
        for name in ("scram_client_key", "scram_server_key"):
            key = getattr(self, name)
            if key is not None and (not isinstance(key, bytes) or len(key) != 32):
                raise ConfigError(f"{name} must be 32 bytes")
        if (self.scram_client_key is None) != (self.scram_server_key is None):
            raise ConfigError("scram_client_key and scram_server_key go together")
        if self.password is not None and not isinstance(self.password, str | bytes):
            raise ConfigError(f"password must be str or bytes, not {type(self.password).__name__}")
        if isinstance(self.password, str) and has_surrogates(self.password):
            raise ConfigError("password contains a lone surrogate", remedy="Pass the exact bytes instead.")
        if not is_number(self.scram_max_iterations) or not self.scram_max_iterations >= 1:
            raise ConfigError("scram_max_iterations must be a number, at least 1")
        if self.require_auth is not None and not isinstance(self.require_auth, str):
            raise ConfigError(f"require_auth must be a str, not {type(self.require_auth).__name__}")
        parse_require_auth(self.require_auth)


_ENUMS: dict[str, type[Enum]] = {
    "tls_mode": TlsMode,
    "tls_verify": TlsVerify,
    "tls_negotiation": TlsNegotiation,
    "tls_min_version": TlsVersion,
    "tls_max_version": TlsVersion,
    "channel_binding": ChannelBinding,
}
