"""libpq connection strings: URIs and keyword strings, with libpq's meaning, as fields of `Config`.

https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING

Two steps: `parse` cuts the string into libpq's keywords, knowing nothing of what they mean; `config_fields` gives them
their meaning. Every keyword is in one of three tables: understood, harmless, or refused by name.
"""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from .config import TlsMode, TlsNegotiation, TlsVerify
from .errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["config_fields", "parse"]

_SCHEMES = ("postgresql://", "postgres://")
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
_ENDPOINT = frozenset(["host", "hostaddr", "port", "connect_timeout"])
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
    "fallback_application_name": None,
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
        ConfigError: It is malformed.
    """
    if "\0" in conninfo:
        raise ConfigError("the connection string contains a zero byte")
    for scheme in _SCHEMES:
        if conninfo.startswith(scheme):
            return _parse_uri(conninfo[len(scheme) :])
    return _parse_keywords(conninfo)


# Keyword strings ---------------------------------------------------------------------------------------------------

_KEYWORD = re.compile(r"\s*([^\s=]+)\s*=\s*")


def _parse_keywords(text: str) -> dict[str, str]:
    values: dict[str, str] = {}
    position = 0
    while text[position:].strip():
        match = _KEYWORD.match(text, position)
        if match is None:
            word = text[position:].split(maxsplit=1)[0].partition("=")[0]
            raise ConfigError(
                f'missing "=" after "{word}" in connection info string'
                if word.isidentifier()  # anything else may be a piece of a password: do not show it
                else 'missing "=" in connection info string'
            )
        value, position = _keyword_value(text, match.end())
        values[match[1]] = value
    return values


def _keyword_value(text: str, position: int) -> tuple[str, int]:
    quoted = text[position : position + 1] == "'"
    position += quoted
    value: list[str] = []
    while position < len(text):
        char = text[position]
        position += 1
        if char == "\\" and position < len(text):
            value.append(text[position])
            position += 1
        elif char == "\\":
            pass  # libpq drops a backslash at the very end
        elif quoted and char == "'":
            return "".join(value), position
        elif not quoted and char.isspace():
            break
        else:
            value.append(char)
    if quoted:
        raise ConfigError("unterminated quoted string in connection info string")
    return "".join(value), position


# URIs --------------------------------------------------------------------------------------------------------------


def _parse_uri(rest: str) -> dict[str, str]:
    rest, has_query, query = rest.partition("?")
    authority, _, path = rest.partition("/")
    values: dict[str, str] = {}
    credentials, at, hosts = authority.rpartition("@")
    if at:
        user, _, password = credentials.partition(":")
        values.update(user=_decode(user), password=_decode(password))
    values.update(_parse_hosts(hosts))
    values["dbname"] = _decode(path)
    values = {keyword: value for keyword, value in values.items() if value}
    if has_query:
        values.update(_parse_query(query))
    return values


def _parse_hosts(hosts: str) -> dict[str, str]:
    names, ports = [], []
    for item in hosts.split(","):
        if item.startswith("["):
            name, bracket, port = item[1:].partition("]")
            if not bracket:
                raise ConfigError('end of string reached when looking for matching "]" in IPv6 host address in URI')
            if not name:
                raise ConfigError("IPv6 host address may not be empty in URI")
            if port and not port.startswith(":"):
                raise ConfigError(f'unexpected character "{port[0]}" in URI (expected ":" or "/")')
            port = port[1:]
        else:
            name, _, port = item.partition(":")
        names.append(_decode(name))
        ports.append(_decode(port))
    return {"host": ",".join(names), "port": ",".join(ports) if any(ports) else ""}


def _parse_query(query: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for item in query.split("&"):
        keyword, equals, value = item.partition("=")
        keyword, value = _decode(keyword), _decode(value)
        if not equals:
            raise ConfigError(f'missing key/value separator "=" in URI query parameter: "{keyword}"')
        if "=" in item[len(item.partition("=")[0]) + 1 :]:
            raise ConfigError(f'extra key/value separator "=" in URI query parameter: "{keyword}"')
        if keyword == "ssl" and value == "true":  # JDBC's spelling, which libpq takes too
            keyword, value = "sslmode", "require"
        values[keyword] = value
    return values


def _decode(text: str) -> str:
    """Percent-decoding as libpq does it: strict, and no zero bytes."""
    for position in (match.start() for match in re.finditer("%", text)):
        if not re.fullmatch("[0-9A-Fa-f]{2}", text[position + 1 : position + 3]):
            raise ConfigError("invalid percent-encoded token in URI", remedy="A literal % is written %25.")
    raw = unquote_to_bytes(text)
    if b"\0" in raw:
        raise ConfigError("forbidden value %00 in percent-encoded value")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise ConfigError("a percent-encoded value in the URI is not UTF-8") from None


# Meaning -----------------------------------------------------------------------------------------------------------


def _check_keyword(keyword: str, value: str, *, allow_files: bool) -> None:
    if keyword not in _KNOWN:
        near = difflib.get_close_matches(keyword, _KNOWN, n=1)
        raise ConfigError(
            f'invalid connection option "{keyword}"' if keyword.isidentifier() else "invalid connection option",
            remedy=f'Did you mean "{near[0]}"?' if near else "See the list of connection parameters.",
        )
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
    timeout = values.get("connect_timeout", "").strip()
    if timeout:
        if not re.fullmatch(r"[+-]?[0-9]{1,9}", timeout):
            raise ConfigError(f'invalid integer value "{timeout}" for connection option "connect_timeout"')
        fields["connect_timeout"] = float(timeout) if int(timeout) > 0 else None
    return fields


def _default_host(port: int) -> str:
    """Where libpq goes without a host: the socket directory, if a server listens there, else localhost."""
    for directory in _SOCKET_DIRECTORIES:
        if Path(directory, f".s.PGSQL.{port}").exists():
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
        roots = sslrootcert or (default_file if default_file and Path(default_file).exists() else None)
        return {"tls_root_cert_path": roots, "tls_default_roots": roots is None}
    mode, verify = _SSL_MODES[sslmode]
    fields: dict[str, Any] = {"tls_mode": mode, "tls_verify": verify, "tls_fallback": mode is TlsMode.PREFER}
    if mode is TlsMode.DISABLE:
        return fields
    if verify is TlsVerify.NONE:
        # As in libpq, a root file makes any mode verify the chain; a file that was named and is missing is an error.
        roots = sslrootcert or (default_file if default_file and Path(default_file).exists() else None)
        if roots is not None:
            fields.update(tls_verify=TlsVerify.CA, tls_root_cert_path=roots, tls_default_roots=False)
        return fields
    roots = sslrootcert or default_file
    if roots is None:
        raise ConfigError(
            f'sslmode "{sslmode}" needs a root certificate file, which this string may not name',
            remedy="Pass tls_root_cert_path, or use sslrootcert=system.",
        )
    return {**fields, "tls_root_cert_path": roots, "tls_default_roots": False}


def _default_root_file() -> str:
    if os.name == "nt":
        return str(Path(os.environ.get("APPDATA", ""), "postgresql", "root.crt"))
    return str(Path("~/.postgresql/root.crt").expanduser())
