"""`Config`: the parameters of a connection, checked once and then frozen.

The constructor raises `ConfigError` for a combination that cannot work, or that is less secure than its values suggest.
It uses neither the network nor the file system: files are opened when they are needed, because they may be replaced
while a program runs.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable
from enum import Enum
from typing import TYPE_CHECKING, Any, Self, Unpack

from ..diagnostics.tracebacks import clears_locals
from ..errors import ConfigError
from .arguments import check_names
from .checks import check_authentication, check_startup, check_tls, check_transport
from .enums import (
    ChannelBinding,
    ClientCertMode,
    LoadBalanceHosts,
    ProtocolVersion,
    TargetSessionAttrs,
    TlsMode,
    TlsNegotiation,
    TlsVerify,
    TlsVersion,
)
from .fields import DEFAULTS, ConfigFields
from .host import Host
from .options import ConfigOptions
from .pins import parse_pins
from .validation import as_enum, as_names, as_path, as_settings, as_source, login_name

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ChannelBinding",
    "ClientCertMode",
    "Config",
    "ConfigOptions",
    "Host",
    "LoadBalanceHosts",
    "ProtocolVersion",
    "TargetSessionAttrs",
    "TlsMode",
    "TlsNegotiation",
    "TlsVerify",
    "TlsVersion",
]


class Config(ConfigFields):
    """The server to connect to, the security of the channel, and the authentication.

    Enum fields accept their values as strings too (``tls_mode="require"``), and `port` accepts digits
    (``port="5432"``). `replace` returns a changed copy. ``vars(config)`` is not suitable for copies: it may
    contain more than the fields.

    Attributes:
        host: Host name, IP address, or the directory of a Unix-domain socket (``/run/postgresql``, or ``@name``
            in the abstract namespace). The certificate is verified for this name.
        hostaddr: IP address to connect to; `host` is then not resolved.
        port: TCP port, or the number in the socket's file name.
        hosts: Servers to try in turn, in place of `host`, `hostaddr` and `port`, which are set to the values of the
            first server.
        target_session_attrs: The property of the session that a server must have to be selected.
        load_balance_hosts: The order in which hosts and their addresses are tried.
        user: Role to log in as; by default the operating system's user name.
        database: Database to connect to; by default the server uses the name of the user.
        password: `str`, or the exact `bytes` to use. `repr` does not show it. Or a callable that returns one of them,
            for passwords that expire; with `AsyncSession` it may return an awaitable. It is called once at the start
            of each connect, and its result is not stored.
        passfile: libpq's password file. Without a `password`, each connection attempt reads it.
        application_name: Name of the application in ``pg_stat_activity``.
        options: Command-line options for the server (``-c statement_timeout=5s``).
        server_settings: Further startup parameters; stored as a sorted tuple of pairs.
        min_protocol_version: Oldest version of PostgreSQL's protocol to accept.
        max_protocol_version: Version of the protocol to request. A server that does not support it selects an older
            one. Some poolers and old servers refuse requests of later versions than 3.0.
        connect_timeout: Seconds until the session must be ready, for each host; `None` for no limit.
        keepalives: Enable TCP keepalive.
        keepalives_idle: Seconds without traffic before the first keepalive; `None` for the system's default.
        keepalives_interval: Seconds between keepalives that are not acknowledged.
        keepalives_count: Number of unacknowledged keepalives after which the connection is closed.
        tcp_user_timeout: Milliseconds that sent data may stay unacknowledged.
        require_peer: The operating system's user that must run the server at a Unix-domain socket.
        tls_mode: The policy for using TLS.
        tls_verify: The extent to which the server's certificate is verified.
        tls_backend: The name of a registered backend, or a `TlsBackend`.
        tls_negotiation: The start of TLS: after SSLRequest, or from the first byte.
        tls_server_name: The name to send (SNI) and to verify, in place of `host`.
        tls_sni: Send the server's name (SNI).
        tls_root_cert_path: PEM file of CA certificates to trust, in addition to the default roots.
        tls_default_roots: Trust the default roots; `False` to trust only `tls_root_cert_path`.
        tls_os_roots: Use the operating system's verifier for the default roots, through the package truststore.
        tls_common_name: Verify names by libpq's rules: use the common name of the subject if the certificate has no
            alternative name of the type that is verified. RFC 9525 does not allow this.
        tls_pins: Fingerprints; the server's certificate must match one of them. ``sha256:<hex>`` is that of the
            certificate, ``spki-sha256:<hex or base64>`` that of its public key. They are checked in addition to
            `tls_verify`.
        tls_groups: Key-exchange groups to offer, in order of preference, by the names of IANA or OpenSSL
            (``("X25519MLKEM768", "x25519")``, or one string with colons); empty for the backend's default.
        tls_ciphers: Cipher suites to offer, of all versions, in the same form. A TLS version is only offered if one of
            its suites is in the list.
        tls_client_cert: The client certificate and its intermediates: path of a PEM or PKCS #12 file, or its `bytes`,
            or the PKCS #11 URI of a certificate in a token (RFC 7512), if the key is in a token too.
        tls_client_key: Its private key: path of a PEM or DER file, or its `bytes`, or the PKCS #11 URI of a key in a
            token; `None` if `tls_client_cert` contains it.
        tls_client_key_password: The password of the key or the PIN of its token, or a callable that returns it.
        tls_client_cert_mode: The policy for presenting the client certificate.
        tls_crl_path: PEM file of CRLs. If it is set, every certificate of the chain must be covered by a CRL.
        tls_crl_dir: Directory of CRLs, named by their issuers' hashes (``openssl rehash``).
        tls_min_version: Oldest TLS version to accept.
        tls_max_version: Newest TLS version to offer, `None` for the backend's newest.
        tls_key_log_path: File to append the connection's TLS secrets to, for Wireshark. Everyone who can read it can
            decrypt the connection.
        tls_fallback: With `TlsMode.PREFER`, repeat a *failed* TLS attempt without TLS on a new connection, as libpq's
            ``sslmode=prefer`` does. An attacker can cause that failure.
        channel_binding: The policy for binding SCRAM to the TLS channel.
        channel_binding_type: One of `CHANNEL_BINDING_TYPES`, by default the first.
        scram_key_cache: Keep derived SCRAM keys in memory, so that a new connection needs no PBKDF2.
        scram_client_key: 32 bytes to use in place of a password, together with `scram_server_key`.
        scram_server_key: 32 bytes that authenticate the server.
        scram_min_iterations: Refuse a server that requests fewer PBKDF2 iterations. A server receives the client's
            proof before it has authenticated itself, and can use it to guess the password. Few iterations make guesses
            fast.
        scram_max_iterations: Refuse a server that requests more PBKDF2 iterations.
        pipelining: If `channel_binding` or `require_auth` allow only one SASL mechanism, start it together with the
            StartupMessage, which saves a round trip. `False` for a server or pooler that does not support this.
        require_auth: libpq's syntax: methods of `AUTH_METHODS` separated by commas, or all negated with ``!``.

    Raises:
        ConfigError: A value is out of range, or two values contradict each other.
        TypeError: An argument is positional or is not a field. The text says what to use in its place.
    """

    if TYPE_CHECKING:

        def __init__(self, **fields: Unpack[ConfigOptions]) -> None: ...

    else:

        @clears_locals
        def __init__(self, *arguments: object, **fields: object) -> None:
            if arguments:
                remedy = "Use Config.from_conninfo or connect for a connection string."
                raise TypeError(f"Config() accepts only keyword arguments. {remedy}")
            try:
                super().__init__(**fields)
            except TypeError:
                if fields.keys() <= DEFAULTS.keys():
                    raise
            else:
                return
            check_names("Config", fields)

        functools.update_wrapper(__init__, ConfigFields.__init__, assigned=(), updated=())  # for inspect.signature

    def __post_init__(self) -> None:
        for name, enum in _ENUMS.items():
            value = getattr(self, name)
            if value.__class__ is not enum:
                self._set(name, as_enum(name, enum, value))
        self._set("server_settings", as_settings(self.server_settings))
        for name in _PATHS:
            if getattr(self, name) is not None:
                self._set(name, as_path(name, getattr(self, name)))
        for name in ("tls_client_cert", "tls_client_key"):
            self._set(name, as_source(name, getattr(self, name)))
        self._set("tls_pins", parse_pins(self.tls_pins))
        for name in ("tls_groups", "tls_ciphers"):
            self._set(name, as_names(name, getattr(self, name)))
        for name in _EMPTY_MEANS_NONE:
            if getattr(self, name) in ("", b""):
                self._set(name, None)
        self._place_hosts()
        if self.user is None or self.user == "":
            self._set("user", login_name())
        check_transport(self)
        check_startup(self)
        check_tls(self)
        check_authentication(self)

    @classmethod
    @clears_locals
    def from_conninfo(
        cls,
        conninfo: str,
        /,
        *,
        allow_files: bool = True,
        environ: Mapping[str, str] | None = None,
        **overrides: Unpack[ConfigOptions],
    ) -> Self:
        """Build a `Config` from a libpq URI or keyword string, which is interpreted as in libpq.

        Args:
            conninfo: ``postgresql://user@host/db?sslmode=verify-full`` or ``host=… user=…``.
            allow_files: `False` for a string from an untrusted source: keywords that name files or a service are
                refused, and no file, password or key of the user is added.
            environ: The ``PG*`` variables, by default those of the process.
            **overrides: Fields of `Config` that replace those of the string.

        Raises:
            ConfigError: The string is malformed, has an unknown keyword, or has an invalid value.
            TypeError: An override is not a field of `Config`.
        """
        check_names("from_conninfo", overrides)
        from ..conninfo.interpret import add_sources, read  # noqa: PLC0415 - only connection strings need it

        fields = read(conninfo, allow_files=allow_files, environ=environ, arguments=overrides)
        values = {name: field.value for name, field in fields.items()}
        try:
            return cls(**{**values, **_with_companions(overrides, values.get("hosts", ()))})
        except ConfigError as error:
            add_sources(error, fields)
            raise

    def without_password(self) -> Config:
        """Return a copy without the password, the password file and the SCRAM keys, for connections without login.

        The copy of an instance of a subclass is a `Config`, because the subclass may have another source of passwords.
        """
        return self._without("password", "passfile", "scram_client_key", "scram_server_key")

    def without_secrets(self) -> Config:
        """Return a copy for logs and reports, which cannot be used to connect.

        It has no password, no SCRAM keys, no client certificate or key that is given as `bytes`, and no password of the
        client key. Callables that return passwords are removed too. Paths are kept, and so is `tls_backend`. The copy
        of an instance of a subclass is a `Config`, because attributes of the subclass may be secrets.
        """
        contents = [name for name in ("tls_client_cert", "tls_client_key") if isinstance(getattr(self, name), bytes)]
        return self._without("password", "scram_client_key", "scram_server_key", "tls_client_key_password", *contents)

    @clears_locals
    def to_conninfo(self) -> str:
        """Return a keyword string of this configuration: ``Config.from_conninfo(config.to_conninfo()) == config``.

        The string has libpq's keywords, and the names of fields for which libpq has no keyword. It contains every value
        that an environment variable or a default file could set, so that they cannot change it. Two things are
        still taken from the environment in which the string is read: the user's password file, if the string has
        neither a password nor a password file, and variables of keywords that are not fields, such as ``PGSERVICE``.
        The string contains the password.

        Raises:
            ConfigError: A string cannot contain a value: a callable, a backend object, or the content of a file.
        """
        from ..conninfo.format import format_conninfo  # noqa: PLC0415 - only connection strings need it

        fields = {name: getattr(self, name) for name in DEFAULTS if name not in ("host", "hostaddr", "port", "hosts")}
        return format_conninfo(self.targets, fields, DEFAULTS)

    @clears_locals
    def to_libpq(self, version: int | None = None) -> dict[str, str]:
        """Return libpq keywords with the meaning of this configuration, for psycopg and Django.

        ``psycopg.connect(**config.to_libpq(psycopg.pq.version()))`` connects to the same servers as the same role.
        Every keyword is written that a ``PG*`` variable, a service or a default file could set to a less secure
        value, except for SCRAM keys, which a service can set. An empty value is significant: pass the keywords as
        psycopg does, in a connection string. They contain the password.

        libpq's own rules apply to names in certificates and to the cipher suites of TLS 1.2. They are less strict.
        `docs/configuration.md` lists the differences. `tls_min_version=TLSv1.3` is recommended.

        Args:
            version: The version of libpq, the number of ``PQlibVersion`` and ``psycopg.pq.version()``: 160004 for
                16.4. By default libpq 18.

        Raises:
            ConfigError: This version of libpq cannot represent some fields. The error names all of them.
        """
        from ..conninfo.libpq import format_libpq  # noqa: PLC0415 - only users of libpq need it

        return format_libpq(self, version)

    @clears_locals
    def replace(self, **changes: Unpack[ConfigOptions]) -> Self:
        """Return a copy with changed fields.

        Fields that belong to a changed field are reset unless they are given too: `tls_fallback` with `tls_mode`, the
        key and its password with `tls_client_cert`, `hostaddr` and `hosts` with `host`. A new `port` is the port of
        every host.

        Raises:
            ConfigError: The result is invalid, or the changes do not select one of several hosts.
            TypeError: A change is not a field of `Config`.
        """
        check_names("replace", changes)
        return dataclasses.replace(self, **_with_companions(changes, self.hosts))

    @clears_locals
    def at(self, host: Host) -> Self:
        """Return this configuration with only one of its `targets`."""
        if not self.hosts:
            return self
        return dataclasses.replace(self, hosts=(), host=host.host, hostaddr=host.hostaddr, port=host.port)

    @clears_locals
    def find_password(self) -> str | bytes | None:
        """Return the password for the first host from `passfile`.

        Returns:
            The password, as `bytes` if it is not UTF-8; None without a file, or without a password for this connection.
        """
        if self.passfile is None:
            return None
        from ..conninfo.passfile import find_password  # noqa: PLC0415 - only password files need it

        return find_password(self.passfile, self.host, self.port, self.database or self.user, self.user)

    def _without(self, *names: str) -> Config:
        """Return a copy in which some fields are None. It has only fields, and nothing that is derived from them."""
        copy = object.__new__(Config)
        copy.__dict__.update({name: getattr(self, name) for name in DEFAULTS}, **dict.fromkeys(names))
        return copy

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _place_hosts(self) -> None:
        """Set `host`, `hostaddr` and `port` to the first of `hosts`. A single host is not stored in `hosts`."""
        hosts: tuple[object, ...] = tuple(self.hosts) if isinstance(self.hosts, Iterable) else (None,)
        if not all(isinstance(host, Host) for host in hosts):
            raise ConfigError(
                "hosts must be Host values", remedy='Write hosts=[Host("a.example.com"), Host("b", 5433)].'
            )
        given = Host(self.host, self.port, self.hostaddr)
        if hosts and given not in (Host(), hosts[0]):
            raise ConfigError(
                "hosts and host contradict each other", remedy="Set either hosts, or host, hostaddr and port."
            )
        for name in ("host", "hostaddr", "port"):
            self._set(name, getattr(hosts[0] if hosts else given, name))
        self._set("hosts", hosts if len(hosts) > 1 else ())


_ENUMS = {name: type(default) for name, default in DEFAULTS.items() if isinstance(default, Enum)}
_ENUMS["tls_max_version"] = TlsVersion

#: Fields for which an empty text is the same as None, as in libpq.
_EMPTY_MEANS_NONE = (
    "hostaddr",
    "database",
    "password",
    "application_name",
    "options",
    "require_peer",
    "tls_client_key_password",
    "require_auth",
)

_PATHS = ("passfile", "tls_root_cert_path", "tls_crl_path", "tls_crl_dir", "tls_key_log_path")


_HOST = {name: DEFAULTS[name] for name in ("host", "hostaddr", "port")}


def _with_companions(changes: Mapping[str, Any], hosts: tuple[Host, ...]) -> dict[str, Any]:
    """Return the changes with the fields that must change with them, for a configuration that has these `hosts`."""
    changes = dict(changes)
    if "tls_mode" in changes:
        changes.setdefault("tls_fallback", False)
    if "tls_client_cert" in changes:
        changes.setdefault("tls_client_key", None)
        changes.setdefault("tls_client_key_password", None)
    if changes.get("hosts"):
        return {**_HOST, **changes}
    if "hosts" in changes:
        if hosts:
            raise ConfigError("hosts is empty", remedy="Name at least one host, or set host instead.")
        del changes["hosts"]
    if "host" in changes:
        if "port" not in changes and len({host.port for host in hosts}) > 1:
            raise ConfigError(
                "port is ambiguous, because the replaced hosts have several ports", remedy="Set port as well."
            )
        return {"hosts": (), "hostaddr": None, **changes}
    if "hostaddr" in changes and hosts:
        raise ConfigError("hostaddr is ambiguous, because there are several hosts", remedy="Set host or hosts.")
    if "port" in changes:
        changes["hosts"] = tuple(dataclasses.replace(host, port=changes["port"]) for host in hosts)
    return changes
