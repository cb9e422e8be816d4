"""Fields of `Config` as keywords of libpq, for programs that connect with libpq: psycopg, Django.

https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS

`format` writes for `interpret`, which has a keyword for every field. This module writes for libpq. The keywords must be
at least as strict as the configuration in every environment. Stricter behavior of libpq is accepted. A field that
libpq cannot represent, or represents less strictly, is a problem. One error reports all problems.

Rules of libpq that no keyword changes are not problems: how names in certificates are compared, and which cipher suites
of TLS 1.2 are offered. ``docs/configuration.md`` lists them.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from ..config.enums import (
    AUTH_METHODS,
    CHANNEL_BINDING_TYPES,
    ChannelBinding,
    TargetSessionAttrs,
    TlsMode,
    TlsVerify,
)
from ..config.fields import DEFAULTS, ConfigFields
from ..config.host import Host
from ..diagnostics.tracebacks import clears_locals
from ..errors import ConfigError
from ..x509.idna import as_address, ascii_name
from .format import format_field, format_hosts
from .keywords import LIBPQ, OLDEST_LIBPQ
from .libpq_tls import NO_FILE, Problems, format_client_certificate, format_verification

if TYPE_CHECKING:
    from collections.abc import Container

_NEWEST = 180000

#: Values of keywords without a field. This library always sets ``client_encoding``. GSSAPI encryption would replace
#: TLS, and a service could set ``replication``.
_FIXED = {
    "client_encoding": "UTF8",
    "gssencmode": "disable",
    "replication": "",
    "sslcompression": "0",
}

#: Fields whose keywords may not be empty in libpq. They are left out for None. No variable sets them; a service can.
#: SCRAM keys of a service replace the password, and libpq has no keyword that prevents this.
_NOT_EMPTY = frozenset(
    [
        "keepalives_idle",
        "keepalives_interval",
        "keepalives_count",
        "tcp_user_timeout",
        "scram_client_key",
        "scram_server_key",
    ]
)

#: Fields that are an upper limit. A libpq without the keyword stays below it.
_LIMITS = frozenset(["max_protocol_version"])

#: The behavior of a libpq that does not have the keyword of a field, if it is not the default of the field.
_WITHOUT_KEYWORD = {"tls_sni": False}

#: Fields without a keyword that require something of TLS if they are set.
_NO_KEYWORD = ("tls_pins", "tls_groups", "tls_ciphers")

#: Settings of the session that libpq reads from PGTZ, PGDATESTYLE and PGGEQO, which override options.
_VARIABLES = frozenset(["timezone", "datestyle", "geqo"])

#: The authentication methods that this library supports. libpq also supports Kerberos, SSPI and OAuth.
_METHODS = frozenset(["password", "md5", "scram-sha-256", "none"])

_SETTING_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.$]*")
_SPECIAL = re.compile(r"[\\ \t\n\v\f\r]")  # PostgreSQL (pg_split_opts) splits options at spaces and removes backslashes
_ESCAPED = r"\\\g<0>"
_MAX_INT = 2**31 - 1


@clears_locals
def format_libpq(config: ConfigFields, version: int | None = None) -> dict[str, str]:
    """Return the keywords of libpq for a configuration.

    Args:
        config: The configuration.
        version: The number of ``PQlibVersion``; None for libpq 18.

    Raises:
        ConfigError: The version is not valid, or this version of libpq cannot represent some fields.
    """
    version = _NEWEST if version is None else version
    if isinstance(version, bool) or not isinstance(version, int) or version < 80000:
        raise ConfigError(
            f"{version!r} is not a version of libpq", remedy="Pass psycopg.pq.version(): 160004 is version 16.4."
        )
    libpq = version // 10000
    if libpq < OLDEST_LIBPQ:
        raise ConfigError(
            f"libpq {libpq} cannot represent tls_min_version (ssl_min_protocol_version) and channel_binding",
            remedy=f"Use libpq {OLDEST_LIBPQ} or newer.",
        )
    problems = Problems(config, libpq)
    values = {
        **_format_hosts(config, problems),
        **format_verification(config, problems),
        **format_client_certificate(config, problems),
        "dbname": config.database or config.user,
        "password": problems.format_secret("password"),
        "passfile": (problems.format_field("passfile") if _reads_passfile(config) else "") or NO_FILE,
        "connect_timeout": _format_timeout(config.connect_timeout),
        "options": _format_options(config, problems),
        "require_auth": _format_require_auth(config, problems),
    }
    values = {**_FIXED, **_format_others(config, problems, values.keys()), **values}
    _check_fields_without_keyword(config, problems)
    problems.check()
    return {
        keyword.name: values[keyword.name] for keyword in LIBPQ if keyword.name in values and keyword.since <= libpq
    }


def _format_others(config: ConfigFields, problems: Problems, done: Container[str]) -> dict[str, str]:
    """Return the other keywords, each of which has the meaning of one field."""
    values = {}
    for keyword in LIBPQ:
        field = keyword.field
        if keyword.name in done or field is None:
            continue
        value = getattr(config, field)
        if field.startswith("tls_") and config.tls_mode is TlsMode.DISABLE:
            values[keyword.name] = format_field(field, DEFAULTS[field])
            continue
        if field not in _LIMITS and value != _WITHOUT_KEYWORD.get(field, DEFAULTS[field]):
            problems.require(field, keyword.since)
        if value is not None or field not in _NOT_EMPTY:
            values[keyword.name] = problems.format_field(field)
    if config.target_session_attrs not in (TargetSessionAttrs.ANY, TargetSessionAttrs.READ_WRITE):
        problems.require("target_session_attrs", 14)
    return values


def _reads_passfile(config: ConfigFields) -> bool:
    """Return True if this library would read the password file, if there is one."""
    return config.password is None and config.scram_client_key is None


def _format_hosts(config: ConfigFields, problems: Problems) -> dict[str, str]:
    try:
        return format_hosts(tuple(_named(config, host, problems) for host in config.targets))
    except ConfigError as error:
        problems.refuse("host", error.message.removeprefix("host "), "change its value")
        return {}


def _named(config: ConfigFields, host: Host, problems: Problems) -> Host:
    """Return the host with the name to verify, which is in ``host``, as A-labels.

    Raises:
        ConfigError: The name cannot be converted.
    """
    if host.is_unix_socket:
        problems.check_text("host", host.host)
        if host.host.startswith("@"):
            problems.require("host", 14, "names a socket in the abstract namespace")
        return host
    name, address = host.host, host.hostaddr
    if config.tls_mode is not TlsMode.DISABLE and config.tls_server_name not in (None, name):
        name = config.tls_server_name or name
        if address is None and as_address(host.host) is not None:
            address = host.host
        if address is None:
            problems.refuse(
                "tls_server_name",
                "is set for a host without hostaddr",
                "set host to this name, and hostaddr to the address",
            )
    written = name if as_address(name) is not None else ascii_name(name)
    if written != host.host and config.passfile is not None and _reads_passfile(config):
        field = "host" if name == host.host else "tls_server_name"
        problems.refuse(field, f"would be looked up in passfile as {written}", "set password, not passfile")
    return Host(written, host.port, address)


def _format_timeout(timeout: float | None) -> str:
    """Return whole seconds, rounded up. libpq waits for at least two."""
    return "0" if timeout is None else str(min(math.ceil(timeout), _MAX_INT))


def _format_options(config: ConfigFields, problems: Problems) -> str:
    """Return `options` followed by the server settings, which is the order in which PostgreSQL applies them."""
    options, settings = config.options or "", config.server_settings
    if not all(_SETTING_NAME.fullmatch(name) for name, _ in settings):
        problems.refuse(
            "server_settings",
            "contains a name that options cannot contain",
            "use letters, digits, dots and underscores",
        )
    overridden = [name for name, _ in settings if name.lower() in _VARIABLES]
    if overridden:
        problems.refuse(
            "server_settings",
            f"contains {' and '.join(overridden)}, which PGTZ, PGDATESTYLE or PGGEQO would override",
            "set it by SET after connecting, or in options, and unset the variable",
        )
    if settings and (len(options) - len(options.rstrip("\\"))) % 2:
        options = options[:-1]  # PostgreSQL ignores this backslash, but it would escape the separator
    assignments = [f"-c {name}={_SPECIAL.sub(_ESCAPED, value)}" for name, value in settings]
    return " ".join(filter(None, [options, *assignments]))


def _format_require_auth(config: ConfigFields, problems: Problems) -> str:
    """Return the methods that this library would accept.

    `protocol.policy` sends a cleartext password only if the server is verified, or if `require_auth` names the method.
    libpq always sends it if `require_auth` does not forbid this.
    """
    allowed = config.allowed_auth
    methods = _METHODS if allowed is None else _METHODS & allowed
    if config.password is None and config.scram_client_key is not None:
        methods -= {"password", "md5"}  # the keys are not a password
    is_verified = config.tls_mode is TlsMode.REQUIRE and config.tls_verify is not TlsVerify.NONE
    is_local = all(host.is_unix_socket for host in config.targets)
    names_cleartext = allowed is not None and "password" in allowed and "!" not in (config.require_auth or "")
    forbids_cleartext = "password" in methods and not (is_verified or is_local or names_cleartext)
    if forbids_cleartext:
        methods -= {"password"}
    is_bound = config.channel_binding is ChannelBinding.REQUIRE and "scram-sha-256" in methods
    if not methods:
        problems.refuse("require_auth", "allows no method that this library would use", "allow scram-sha-256")
    elif is_bound:
        pass  # libpq accepts only SCRAM-SHA-256-PLUS
    elif allowed is not None:
        problems.require("require_auth", 16)
    elif forbids_cleartext:
        problems.require(
            "require_auth", 16, "has to forbid cleartext passwords, because the server may not be verified"
        )
    return ",".join(name for name in AUTH_METHODS if name in methods)


def _check_fields_without_keyword(config: ConfigFields, problems: Problems) -> None:
    found = []
    if config.tls_mode is not TlsMode.DISABLE:
        found += [name for name in _NO_KEYWORD if getattr(config, name)]
        if config.tls_backend != "stdlib":
            problems.refuse("tls_backend", "is set, but libpq uses its own TLS library", 'use "stdlib"')
        if config.channel_binding_type not in (None, CHANNEL_BINDING_TYPES[0]):
            problems.refuse(
                "channel_binding_type", f"is not {CHANNEL_BINDING_TYPES[0]}, the only type of libpq", "leave it out"
            )
    # libpq has no limits. The default of scram_max_iterations bounds only the time.
    if config.scram_min_iterations > 1:
        found.append("scram_min_iterations")
    if config.scram_max_iterations < ConfigFields.scram_max_iterations:
        found.append("scram_max_iterations")
    for name in found:
        problems.refuse(name, "is set, and libpq has no keyword for it", "leave it out")
