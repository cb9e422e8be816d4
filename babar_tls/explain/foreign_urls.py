"""Translation of URLs of JDBC and SQLAlchemy to libpq's parameters, and of parameters back to their form.

Only explanations use it. `Config.from_conninfo` refuses these URLs, because their drivers have other parameters and
defaults.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote as percent_encode
from urllib.parse import unquote_plus

from ..config.validation import has_surrogates
from ..conninfo.syntax import quote
from ..diagnostics.counts import count
from ..diagnostics.tracebacks import clears_locals
from ..errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


@dataclass(frozen=True)
class ForeignUrl:
    """A URL of another library.

    Attributes:
        conninfo: The same connection as a string of libpq. It may contain secrets.
        notes: What was translated, and what the other library does differently. They contain no value of the URL,
            except for TLS modes.
        remove: Parameters of the URL that advice replaces.
        instead: Parameters of libpq that replace those in `remove`; empty if only `sslmode` does.
        names: The other library's names of libpq's keywords; None if they are the same.
        variables: Pattern of the names of the environment variables that the other library reads.
    """

    conninfo: str = field(repr=False)
    notes: tuple[str, ...]
    remove: tuple[str, ...] = ()
    instead: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, str] | None = None
    variables: str = ".*"

    def environ(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return the environment without the ``PG*`` variables that the other library does not read."""
        return {name: value for name, value in environ.items() if re.fullmatch(f"(?!PG).*|{self.variables}", name)}

    def removed(self, parameters: Mapping[str, str]) -> tuple[str, ...]:
        """Return the parameters of the URL to remove if these are added."""
        return self.remove if parameters and (self.instead or "sslmode" in _for_jdbc(parameters)) else ()

    def write(self, parameters: Mapping[str, str]) -> str:
        """Return keywords of libpq as query parameters of the other library."""
        pairs = {**self.instead, **parameters} if parameters else {}
        if self.names is not None:
            pairs = {self.names[keyword]: value for keyword, value in _for_jdbc(pairs).items() if keyword in self.names}
        return "&".join(f"{name}={percent_encode(value, safe='')}" for name, value in pairs.items())

    def advise(self, parameters: Mapping[str, str]) -> tuple[str, ...]:
        """Return notes about parameters that are added."""
        needed = [_SINCE[keyword] for keyword in parameters if self.names is not None and keyword in _SINCE]
        return (f"Older versions ignore parameters that they do not have: {', '.join(needed)}.",) if needed else ()


@clears_locals
def translate(text: str) -> ForeignUrl | None:
    """Return a URL of JDBC or SQLAlchemy in libpq's terms; None if it is another string.

    Raises:
        ConfigError: The URL is malformed. The message contains no part of it.
    """
    match = _SQLALCHEMY.match(text)
    is_jdbc = text.startswith(_JDBC)
    if not is_jdbc and (match is None or match[1] not in _DRIVERS):
        return None
    if has_surrogates(text):  # Python decodes other bytes of the command line to surrogates (PEP 383)
        raise _not_utf_8()
    if match is None:
        return _translate_jdbc(text[len(_JDBC) :])
    return _translate_sqlalchemy(match[1], text[match.end() :])


def _not_utf_8() -> ConfigError:
    return ConfigError("a value in the URL is not UTF-8", remedy="Percent-encode the bytes of UTF-8.")


def _decode(text: str) -> str:
    """Decode percent-encoded UTF-8, and ``+`` as a space: Java and SQLAlchemy decode their queries like this."""
    decoded = None
    with suppress(UnicodeError):  # it contains the value, so it must not be the context of the error
        decoded = unquote_plus(text, errors="strict")
    if decoded is None:
        raise _not_utf_8()
    if "\0" in decoded:
        raise ConfigError("forbidden value %00 in percent-encoded value", remedy="Remove %00 from the URL.")
    return decoded


def _query(text: str) -> Iterator[tuple[str, str]]:
    for item in text.split("&"):
        name, _, value = item.partition("=")
        if name:
            yield name, _decode(value)


# JDBC ----------------------------------------------------------------------------------------------------------------

_JDBC = "jdbc:postgresql:"
_FACTORY = "sslfactory"
_JAVA_ROOTS = "org.postgresql.ssl.DefaultJavaSSLFactory"
_NO_VERIFICATION = "org.postgresql.ssl.NonValidatingFactory"
_VERIFYING = ("verify-ca", "verify-full")

#: The keywords of libpq with the same values as properties of pgjdbc (org.postgresql.PGProperty, version 42.7.13).
_PROPERTIES = {
    "user": "user",
    "password": "password",
    "host": "host",
    "PGHOST": "host",
    "port": "port",
    "PGPORT": "port",
    "dbname": "dbname",
    "PGDBNAME": "dbname",
    "sslmode": "sslmode",
    "sslrootcert": "sslrootcert",
    "sslcert": "sslcert",
    "sslkey": "sslkey",
    "sslpassword": "sslpassword",
    "sslNegotiation": "sslnegotiation",
    "channelBinding": "channel_binding",
    "requireAuth": "require_auth",
    "ApplicationName": "application_name",
    "connectTimeout": "connect_timeout",
    "options": "options",
    "service": "service",
}
_SERVERS = {
    "any": "any",
    "primary": "primary",
    "master": "primary",
    "secondary": "standby",
    "slave": "standby",
    "preferSecondary": "prefer-standby",
    "preferSlave": "prefer-standby",
}
#: pgjdbc's names of the keywords that advice adds.
_JDBC_NAMES = {
    "sslmode": "sslmode",
    _FACTORY: _FACTORY,
    "channel_binding": "channelBinding",
    "require_auth": "requireAuth",
}
_SINCE = {
    "channel_binding": "channelBinding is enforced by pgjdbc 42.7.12 or later",
    "require_auth": "requireAuth needs pgjdbc 42.7.11 or later",
}
_SLASH = 'Write jdbc:postgresql://host:5432/database, with the "/" even without a database.'


def _translate_jdbc(rest: str) -> ForeignUrl:
    server, _, query = rest.partition("?")
    values = _jdbc_server(server)
    properties = dict(_query(query))
    ignored = 0
    for name, value in properties.items():
        if name in _PROPERTIES:
            values[_PROPERTIES[name]] = value
        elif name == "targetServerType" and value in _SERVERS:
            values["target_session_attrs"] = _SERVERS[value]
        elif name == "loadBalanceHosts":
            values["load_balance_hosts"] = "random" if value.lower() == "true" else "disable"
        elif name not in ("ssl", _FACTORY):
            ignored += 1
    # Advice keeps the URL's own root file, even if pgjdbc does not use it yet.
    has_roots = "sslrootcert" in values and properties.get(_FACTORY) != _JAVA_ROOTS
    notes = [*_jdbc_tls(values, properties)]
    if ignored:
        notes.append(f"{count(ignored, 'property', 'properties')} without a counterpart in libpq: left out.")
    remove = (_FACTORY,) if has_roots and properties.get(_FACTORY) == _NO_VERIFICATION else ()
    names = {keyword: name for keyword, name in _JDBC_NAMES.items() if not (has_roots and keyword == _FACTORY)}
    conninfo = " ".join(f"{keyword}={quote(value)}" for keyword, value in values.items())
    notes.insert(0, "This JDBC URL was translated to libpq's parameters, as pgjdbc interprets it.")
    return ForeignUrl(conninfo, tuple(notes), remove, names=names, variables="PGPASSFILE|PGSERVICEFILE|PGSYSCONFDIR")


def _jdbc_server(text: str) -> dict[str, str]:
    """Return host, port and database of the part before the query."""
    if "@" in text:  # pgjdbc would look for a host of this name
        raise ConfigError(
            'unexpected "@" in JDBC URL',
            remedy="Pass user and password as parameters: jdbc:postgresql://host/database?user=…&password=…",
        )
    values = {"host": "localhost", "port": "5432"}
    if not text.startswith("//"):
        database = text.removeprefix("/")
        if "/" in database:
            raise ConfigError("malformed JDBC URL", remedy=_SLASH)
        return {**values, **({"dbname": _decode(database)} if database else {})}
    addresses, slash, database = text[2:].partition("/")
    if "/" in database.removeprefix("/") or (addresses and not slash):
        raise ConfigError("malformed JDBC URL", remedy=_SLASH)
    if addresses:
        found = [re.fullmatch(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::([0-9]*))?", address) for address in addresses.split(",")]
        if None in found:
            raise ConfigError("malformed host or port in JDBC URL", remedy=_SLASH)
        pairs = [(match[1].strip("[]") or "localhost", match[2] or "5432") for match in found if match]
        values = {"host": ",".join(host for host, _ in pairs), "port": ",".join(port for _, port in pairs)}
    database = database.removeprefix("/")
    return {**values, **({"dbname": _decode(database)} if database else {})}


def _jdbc_tls(values: dict[str, str], properties: Mapping[str, str]) -> Iterator[str]:
    """Set the parameters of TLS as pgjdbc understands them, and yield notes about them."""
    mode = values.get("sslmode", "").lower()
    if not mode:
        # org.postgresql.jdbc.SslMode: without sslmode, ssl=true or an empty ssl has this meaning.
        mode = "verify-full" if properties.get("ssl", "false").lower() in ("", "true") else "prefer"
        reason = "ssl in the URL" if mode == "verify-full" else "its default"
        yield f"pgjdbc uses sslmode={mode}: {reason}."
    factory = properties.get(_FACTORY)
    if factory == _NO_VERIFICATION:
        mode = "require" if mode in _VERIFYING else mode
        yield f"{_FACTORY} is a class that verifies nothing, for every sslmode."
    elif factory == _JAVA_ROOTS:
        values.pop("sslrootcert", None)
        if mode == "require":
            mode = "verify-ca"
        if mode in _VERIFYING:
            values.update({"sslrootcert": "system"} if mode == "verify-full" else {"tls_default_roots": "1"})
        yield f"{_FACTORY} selects Java's own trust store; this explanation uses the one of this machine."
    elif factory:
        yield f"{_FACTORY} names a custom class, which may verify more or less than sslmode requires."
    if mode not in _VERIFYING:
        values.pop("sslrootcert", None)
        yield "pgjdbc verifies the server only with verify-ca and verify-full, even if a root certificate file exists."
    values["sslmode"] = mode


def _for_jdbc(parameters: Mapping[str, str]) -> dict[str, str]:
    """Return parameters with those of verification in pgjdbc's terms. It can use Java's trust store, but no other."""
    found = dict(parameters)
    if found.get("tls_verify") == "full":
        found["sslmode"] = "verify-full"
    if found.get("sslrootcert") == "system" or "tls_default_roots" in found:
        found[_FACTORY] = _JAVA_ROOTS
    return {keyword: found[keyword] for keyword in (*_JDBC_NAMES, *found) if keyword in found}


# SQLAlchemy ----------------------------------------------------------------------------------------------------------

_SQLALCHEMY = re.compile(r"postgres(?:ql)?\+([a-z0-9_]{1,20})://")
#: The dialects of drivers that use libpq, and of this library: their query parameters are those of libpq.
_LIBPQ_DRIVERS = ("psycopg", "psycopg_async", "psycopg2", "psycopg2cffi")
_OWN_DRIVERS = ("babar", "babar_pg8000", "babar_asyncpg")
#: The dialects of other drivers, and the dialect of this library for the same driver.
_REPLACED_DRIVERS = {"asyncpg": "babar_asyncpg", "pg8000": "babar_pg8000"}
_DRIVERS = (*_LIBPQ_DRIVERS, *_OWN_DRIVERS, *_REPLACED_DRIVERS)

_DRIVER_PARAMETERS = {"timeout": "connect_timeout", "database": "dbname"}
#: Parameters of asyncpg, pg8000 and SQLAlchemy that do not concern the connection's security.
_LEFT_OUT = frozenset(
    (
        "command_timeout",
        "statement_cache_size",
        "max_cached_statement_lifetime",
        "max_cacheable_statement_size",
        "prepared_statement_cache_size",
        "prepared_statement_name_func",
        "tcp_keepalive",
    )
)
_HOST_AND_PORT = re.compile(r"(\[[^\[\]]+\]|[^/:\[\],]*):([0-9]*)")


def _translate_sqlalchemy(driver: str, rest: str) -> ForeignUrl:
    before, _, query = rest.partition("?")
    items = _join_hosts(list(_query(query)))
    notes = [f"This URL of SQLAlchemy was translated to libpq's parameters (driver: {driver})."]
    remove: tuple[str, ...] = ()
    instead: dict[str, str] = {}
    if driver in _REPLACED_DRIVERS:
        if any(name == "ssl" for name, _ in items):
            remove = ("ssl",)
            notes.append("ssl was read as sslmode, whose values asyncpg shares.")
        items = [
            ("sslmode" if name == "ssl" else _DRIVER_PARAMETERS.get(name, name), value)
            for name, value in items
            if name not in _LEFT_OUT
        ]
        notes.append(
            f"{driver} cannot bind authentication to the TLS channel. The dialect postgresql+"
            f"{_REPLACED_DRIVERS[driver]} of this library uses {driver} and accepts the parameters below: change the "
            "scheme of the URL, and install babar-tls[sqlalchemy]."
        )
    variables = "(?!)" if driver == "pg8000" else ".*"
    may_be_set = "PGSSLMODE" in os.environ and driver != "pg8000"
    if driver not in _OWN_DRIVERS and not may_be_set and not any(name in ("sslmode", "service") for name, _ in items):
        items.append(("sslmode", "prefer"))
        notes.append(f"{driver} uses sslmode=prefer: its default.")
    if remove:
        instead = {name: value for name, value in items if name == "sslmode"}
    written = "&".join(f"{percent_encode(name, safe='')}={percent_encode(value, safe='')}" for name, value in items)
    return ForeignUrl(f"postgresql://{before}?{written}", tuple(notes), remove, instead, variables=variables)


def _join_hosts(items: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return query parameters with SQLAlchemy's ``host=a:1&host=b:2`` as lists of hosts and ports."""
    hosts = [value for name, value in items if name == "host"]
    found = [_HOST_AND_PORT.fullmatch(host) for host in hosts]
    if len(hosts) < 2 and not any(found):
        return list(items)
    pairs = [(match[1], match[2]) if match else (host, "") for host, match in zip(hosts, found, strict=True)]
    others = [item for item in items if item[0] not in ("host", "port")]
    ports = ",".join(port for _, port in pairs)
    joined = [("host", ",".join(host.strip("[]") for host, _ in pairs))]
    return [*others, *joined, *([("port", ports)] if ports.strip(",") else [])]
