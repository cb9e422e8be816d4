"""libpq connection strings: URIs and keyword strings, with libpq's meaning, as fields of `Config`.

https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING

`conninfo_syntax` cuts the string into libpq's keywords, knowing nothing of what they mean; this module gives them their
meaning. Every keyword is in one of three tables: understood, harmless, or refused by name.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .config import TlsMode, TlsNegotiation, TlsVerify
from .conninfo_syntax import split
from .errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["config_fields", "parse"]

_SOCKET_DIRECTORIES = ("/run/postgresql", "/var/run/postgresql", "/tmp")  # noqa: S108 - libpq's compiled-in defaults

_SSL_MODES = {
    "disable": (TlsMode.DISABLE, TlsVerify.NONE),
    "allow": (TlsMode.ALLOW, TlsVerify.NONE),
    "prefer": (TlsMode.PREFER, TlsVerify.NONE),
    "require": (TlsMode.REQUIRE, TlsVerify.NONE),
    "verify-ca": (TlsMode.REQUIRE, TlsVerify.CA),
    "verify-full": (TlsMode.REQUIRE, TlsVerify.FULL),
}

#: Keywords whose value is that of one field of `Config`.
_FIELDS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "user": ("user", str),
    "password": ("password", str),
    "dbname": ("database", str),
    "application_name": ("application_name", str),
    "options": ("options", str),
    "channel_binding": ("channel_binding", str),
    "require_auth": ("require_auth", str),
    "sslnegotiation": ("tls_negotiation", str),
    "ssl_min_protocol_version": ("tls_min_version", str),
    "ssl_max_protocol_version": ("tls_max_version", str),
}
_ENDPOINT = frozenset(["host", "hostaddr", "port", "connect_timeout", "keepalives", "fallback_application_name"])
_TRUST = frozenset(["sslmode", "sslrootcert"])

#: Keywords that this library accepts when they ask for nothing that it lacks, with the values that ask for nothing.
_HARMLESS = {
    "client_encoding": ("utf8", "utf-8", "unicode", "auto"),
    "gssencmode": ("disable", "prefer"),
    "krbsrvname": None,
    "gsslib": None,
    "gssdelegation": ("0",),
    "keepalives_idle": None,
    "keepalives_interval": None,
    "keepalives_count": None,
    "tcp_user_timeout": None,
    "sslcompression": ("0",),
    "sslsni": ("1",),
    "sslcertmode": ("allow", "disable"),
    "target_session_attrs": ("any",),
    "load_balance_hosts": ("disable",),
    "requirepeer": ("",),
    "replication": ("", "0", "false", "off", "no"),
}

#: libpq's other keywords: known, and an error, because dropping them would change what the string means.
_REFUSED = frozenset(
    [
        "passfile", "service", "servicefile", "sslcert", "sslkey", "sslpassword", "sslcrl", "sslcrldir",
        "sslkeylogfile", "scram_client_key", "scram_server_key", "min_protocol_version", "max_protocol_version",
        "oauth_issuer", "oauth_client_id", "oauth_client_secret", "oauth_scope",
    ]
)  # fmt: skip

_KNOWN = frozenset([*_FIELDS, *_ENDPOINT, *_TRUST, *_HARMLESS, *_REFUSED])
_NAMES_A_FILE = frozenset(["sslrootcert"])


def config_fields(conninfo: str, *, allow_files: bool = True) -> dict[str, Any]:
    """What a connection string says, as keyword arguments of `Config`.

    Raises:
        ConfigError: The string is malformed, has an unknown keyword, or asks for something that we do not have.
    """
    values = parse(conninfo)
    for keyword, value in values.items():
        _check_keyword(keyword, value, allow_files=allow_files)
    fields: dict[str, Any] = {}
    for keyword, (name, convert) in _FIELDS.items():
        if values.get(keyword):
            fields[name] = convert(values[keyword])
    fields.update(_endpoint(values))
    fields.update(_trust(values, allow_files=allow_files))
    return fields


def parse(conninfo: str) -> dict[str, str]:
    """Cut a URI or a keyword string into libpq's keywords and their values.

    Raises:
        ConfigError: It is malformed, or has an unknown keyword.
    """
    return split(conninfo, _KNOWN)


def _check_keyword(keyword: str, value: str, *, allow_files: bool) -> None:
    if keyword in _REFUSED and value:
        raise ConfigError(
            f'connection option "{keyword}" is not supported', remedy="Dropping it would change what the string means."
        )
    allowed = _HARMLESS.get(keyword)
    if allowed is not None and value.lower() not in (*allowed, ""):
        raise ConfigError(
            f'connection option "{keyword}={value}" is not supported', remedy=f"Supported: {', '.join(allowed)}."
        )
    if not allow_files and keyword in _NAMES_A_FILE and value not in ("", "system"):
        raise ConfigError(f'connection option "{keyword}" names a file, which this string may not do')


def _endpoint(values: dict[str, str]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for keyword in ("host", "hostaddr", "port"):
        if "," in values.get(keyword, ""):
            raise ConfigError("several hosts in one connection string are not supported", remedy="Name one host.")
    port = values.get("port", "").strip()
    if port:
        if not re.fullmatch("[0-9]{1,5}", port):
            raise ConfigError(f'invalid integer value "{port}" for connection option "port"')
        fields["port"] = int(port)
    host, hostaddr = values.get("host", ""), values.get("hostaddr", "")
    if hostaddr:
        fields["hostaddr"] = hostaddr
    fields["host"] = host or hostaddr or _default_host(fields.get("port", 5432))
    keepalives = values.get("keepalives", "").strip()
    if keepalives:
        if not re.fullmatch(r"[+-]?[0-9]{1,9}", keepalives):
            raise ConfigError(f'invalid integer value "{keepalives}" for connection option "keepalives"')
        fields["keepalives"] = int(keepalives) != 0
    if values.get("fallback_application_name") and not values.get("application_name"):
        fields["application_name"] = values["fallback_application_name"]
    timeout = values.get("connect_timeout", "").strip()
    if timeout:
        if not re.fullmatch(r"[+-]?[0-9]{1,9}", timeout):
            raise ConfigError(f'invalid integer value "{timeout}" for connection option "connect_timeout"')
        fields["connect_timeout"] = float(timeout) if int(timeout) > 0 else None
    return fields


def _default_host(port: int) -> str:
    """Where libpq goes without a host: the socket directory, if a server listens there, else localhost."""
    for directory in _SOCKET_DIRECTORIES:
        if _exists(Path(directory, f".s.PGSQL.{port}")):
            return directory
    return "localhost"


def _trust(values: dict[str, str], *, allow_files: bool) -> dict[str, Any]:
    """Sslmode and sslrootcert, which mean something only together."""
    sslmode, sslrootcert = values.get("sslmode", ""), values.get("sslrootcert", "")
    if sslmode and sslmode not in _SSL_MODES:
        raise ConfigError(f'invalid sslmode value: "{sslmode}"', remedy=f"Known modes: {', '.join(_SSL_MODES)}.")
    if sslrootcert == "system":
        if sslmode not in ("", "verify-full"):
            raise ConfigError(
                f'weak sslmode "{sslmode}" may not be used with sslrootcert=system (use "verify-full")',
                remedy="Anybody can have a certificate from a public authority: only its name tells the server.",
            )
        return {"tls_mode": TlsMode.REQUIRE, "tls_verify": TlsVerify.FULL, "tls_default_roots": True}
    direct = values.get("sslnegotiation") == TlsNegotiation.DIRECT.value
    if direct and sslmode in ("disable", "allow", "prefer"):
        raise ConfigError(
            f'weak sslmode "{sslmode}" may not be used with sslnegotiation=direct '
            '(use "require", "verify-ca", or "verify-full")'
        )
    default_file = _default_root_file() if allow_files else None
    if not sslmode:  # ours: stricter than libpq's "prefer"
        roots = sslrootcert or (default_file if default_file and _exists(Path(default_file)) else None)
        return {"tls_root_cert_path": roots, "tls_default_roots": roots is None}
    mode, verify = _SSL_MODES[sslmode]
    fields: dict[str, Any] = {"tls_mode": mode, "tls_verify": verify, "tls_fallback": mode is TlsMode.PREFER}
    if mode is TlsMode.DISABLE:  # it says nothing of what to verify if there were TLS
        return {"tls_mode": mode}
    if verify is TlsVerify.NONE:
        # As in libpq, a root file makes any mode verify the chain; a file that was named and is missing is an error.
        roots = sslrootcert or (default_file if default_file and _exists(Path(default_file)) else None)
        if roots is not None:
            fields.update(tls_verify=TlsVerify.CA, tls_root_cert_path=roots, tls_default_roots=False)
        return fields
    roots = sslrootcert or default_file
    if roots is None:
        raise ConfigError(
            f'sslmode "{sslmode}" needs a root certificate file, and there is none to look for',
            remedy="Pass tls_root_cert_path, or use sslrootcert=system.",
        )
    return {**fields, "tls_root_cert_path": roots, "tls_default_roots": False}


def _default_root_file() -> str | None:
    if os.name == "nt":
        return str(Path(os.environ.get("APPDATA", ""), "postgresql", "root.crt"))
    try:
        return str(Path("~/.postgresql/root.crt").expanduser())
    except RuntimeError:  # a user without a home, as containers have them
        return None


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a folder that we may not look into
        return False
