"""Translation of URLs of SQLAlchemy to libpq's parameters."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote as percent_encode

from ..conninfo.syntax import is_keyword
from ..errors import ConfigError
from .translation import ForeignUrl, split_query

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PREFIX = re.compile(r"postgres(?:ql)?\+([a-z0-9_]{1,20})://")
#: The dialects of drivers that use libpq, and of this library: their query parameters are those of libpq.
_LIBPQ_DRIVERS = ("psycopg", "psycopg_async", "psycopg2", "psycopg2cffi")
_OWN_DRIVERS = ("babar", "babar_pg8000", "babar_asyncpg")
#: The dialects of other drivers, and the dialect of this library for the same driver.
_REPLACED_DRIVERS = {"asyncpg": "babar_asyncpg", "pg8000": "babar_pg8000"}
DRIVERS = (*_LIBPQ_DRIVERS, *_OWN_DRIVERS, *_REPLACED_DRIVERS)

_BINDING = {
    "asyncpg": "asyncpg cannot bind authentication to the TLS channel.",
    "pg8000": "pg8000 binds authentication to the TLS channel if the server offers it, but cannot require that, and it "
    "verifies no certificate by default.",
}
#: Keywords of libpq that are also arguments of the driver's function `connect`. SQLAlchemy passes each parameter of the
#: URL to it.
_ARGUMENTS = {
    "asyncpg": {"host", "port", "user", "password", "passfile", "service", "servicefile", "target_session_attrs"}
    | {"krbsrvname", "gsslib"},
    "pg8000": {"host", "port", "user", "password", "application_name", "replication"},
}
_SSL_ARGUMENT = {
    "asyncpg": "Use ssl, for example ssl=require, in place of sslmode",
    "pg8000": 'Use connect_args={"ssl_context": …} in place of TLS parameters',
}
_DRIVER_PARAMETERS = {"ssl": "sslmode", "timeout": "connect_timeout", "database": "dbname"}
_CACHE_SIZE = "prepared_statement_cache_size"
#: Parameters of asyncpg, pg8000 and SQLAlchemy that do not concern the connection's security.
_LEFT_OUT = frozenset(
    (
        "command_timeout",
        "statement_cache_size",
        "max_cached_statement_lifetime",
        "max_cacheable_statement_size",
        _CACHE_SIZE,
        "prepared_statement_name_func",
        "tcp_keepalive",
    )
)
#: Parameters that SQLAlchemy's dialects accept more than once.
_REPEATABLE = ("host", "port")
_HOST_AND_PORT = re.compile(r"(\[[^\[\]]+\]|[^/:\[\],]*):([0-9]*)")


@dataclass(frozen=True)
class SqlalchemyUrl(ForeignUrl):
    """A URL of SQLAlchemy. See `ForeignUrl`.

    Attributes:
        instead: Parameters of libpq to add in place of those that the dialect of this library does not have.
    """

    instead: Mapping[str, str] = field(default_factory=dict, repr=False)

    def convert(self, parameters: Mapping[str, str]) -> dict[str, str]:
        """See `ForeignUrl.convert`."""
        return {**self.instead, **parameters} if parameters else {}


def translate(driver: str, rest: str) -> SqlalchemyUrl:
    """Translate the URL of a driver; `rest` is the text after the scheme.

    Raises:
        ConfigError: It is malformed, or SQLAlchemy or the driver would refuse it.
    """
    before, _, query = rest.partition("?")
    given = list(split_query(query))
    _check_repetition([name for name, _ in given])
    notes = [f"This URL of SQLAlchemy was translated to libpq's parameters (driver: {driver})."]
    # A repeated parameter is an error, so that an added one replaces the one with its name.
    replaced = {name: name for name, _ in given}
    instead: dict[str, str] = {}
    items = _join_hosts(given)
    if driver in _REPLACED_DRIVERS:
        notes.extend(_compare(driver, list(replaced)))
        items = [(_DRIVER_PARAMETERS.get(name, name), value) for name, value in items if name not in _LEFT_OUT]
        if "ssl" in replaced:
            replaced["ssl"] = "sslmode"
            instead = {name: value for name, value in items if name == "sslmode"}
    elif driver in ("babar", "babar_asyncpg"):
        items = [item for item in items if item[0] != _CACHE_SIZE]
        if not all(value.isdecimal() for name, value in given if name == _CACHE_SIZE):
            raise ConfigError(f"{_CACHE_SIZE} in the URL must be a number of statements")
    variables = "(?!)" if driver == "pg8000" else ".*"
    may_be_set = "PGSSLMODE" in os.environ and driver != "pg8000"
    if driver not in _OWN_DRIVERS and not may_be_set and not any(name in ("sslmode", "service") for name, _ in items):
        items.append(("sslmode", "prefer"))
        notes.append(f"{driver} uses sslmode=prefer: its default.")
    written = "&".join(f"{percent_encode(name, safe='')}={percent_encode(value, safe='')}" for name, value in items)
    conninfo = f"postgresql://{before}?{written}"
    return SqlalchemyUrl(conninfo, tuple(notes), replaced, variables, driver in _OWN_DRIVERS, instead)


def _check_repetition(names: Sequence[str]) -> None:
    """Refuse repeated parameters: SQLAlchemy passes all their values to the driver, which accepts one."""
    for name in names:
        if names.count(name) > 1 and name not in _REPEATABLE:
            what = name if is_keyword(name) or name in _DRIVER_PARAMETERS else "a parameter"
            raise ConfigError(
                f"the URL contains {what} more than once",
                remedy="Remove all but one. With SQLAlchemy, a later parameter does not replace an earlier one.",
            )


def _compare(driver: str, names: Sequence[str]) -> Iterator[str]:
    """Yield notes about the differences of a driver that does not have libpq's parameters."""
    if "ssl" in names:
        yield "ssl was read as sslmode, whose values asyncpg shares."
    accepted = _ARGUMENTS[driver] | ({"ssl"} if driver == "asyncpg" else set())
    refused = [name for name in names if (is_keyword(name) or name == "ssl") and name not in accepted]
    if refused:
        has_tls = any(name.startswith("ssl") for name in refused)
        yield (
            f"SQLAlchemy passes {', '.join(refused)} to {driver}, which raises TypeError: it has no such argument. "
            f"{_SSL_ARGUMENT[driver] if has_tls else 'Remove them'}, or use the dialect of this library."
        )
    yield (
        f"{_BINDING[driver]} The dialect postgresql+{_REPLACED_DRIVERS[driver]} of this library uses {driver} and "
        "accepts the parameters below: change the scheme of the URL, and install babar-tls[sqlalchemy]."
    )


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
