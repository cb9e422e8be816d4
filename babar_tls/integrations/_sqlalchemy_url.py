"""Conversion of SQLAlchemy's URLs to a `Config`, and of a `Config` to a URL that represents it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

from sqlalchemy.engine import URL

from ..config import Config
from ..conninfo.keywords import KEYWORDS
from ..conninfo.syntax import is_keyword, quote, unknown_keyword
from ..diagnostics.tracebacks import clears_locals
from ..errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..config.host import Host

#: Percent-encoded characters of a Unix socket's directory or of an IPv6 zone. SQLAlchemy does not decode hosts.
_ENCODED = re.compile("%(?:2F|25|40)", re.IGNORECASE)
_HOST_AND_PORT = re.compile(r"\[(?P<address>[^\]]*)\](?::(?P<port1>.*))?|(?P<name>[^:/@]*):(?P<port2>[^:]*)")

#: The parameter of a URL that shows only a part of the configuration, and its value.
MARKER, _SHOWN = "config", "shown-in-part"

_IN_CONNECT_ARGS = 'Pass connect_args={{"{name}": …}} to '
#: Parameters of the drivers and of SQLAlchemy's dialects that are not keywords of connection strings, with the remedy.
_ARGUMENTS = {
    "timeout": f"{_IN_CONNECT_ARGS}create_engine or create_async_engine.",
    **dict.fromkeys(("tcp_keepalive", "startup_params"), f"{_IN_CONNECT_ARGS}create_engine (pg8000)."),
    **dict.fromkeys(
        (
            "command_timeout",
            "statement_cache_size",
            "max_cached_statement_lifetime",
            "max_cacheable_statement_size",
            "prepared_statement_cache_size",
            "prepared_statement_name_func",
        ),
        f"{_IN_CONNECT_ARGS}create_async_engine (asyncpg).",
    ),
    "async_fallback": "Remove it: create_engine uses pg8000, which needs no event loop.",
}


@clears_locals
def config_from_url(url: URL) -> Config:
    """Return the configuration of a URL. Its query parameters are keywords of connection strings.

    Several hosts are written as ``?host=a:5432&host=b:5433`` or ``?host=a,b&port=5432,5433``. Without a password, the
    password file is used. The ``PG*`` environment variables apply as in libpq.

    Args:
        url: The URL. Its drivername is not examined.

    Raises:
        ConfigError: A parameter is unknown, invalid, or is given more than once; or the query contains a secret, which
            the texts of SQLAlchemy would show; or the URL is marked by `mark`.
    """
    if MARKER in url.query:
        raise ConfigError(
            "the URL is that of an engine that was created from a Config or a connection string: it shows only a part "
            "of its configuration",
            remedy="Create the other engine from the same Config or connection string.",
        )
    keywords = {"user": url.username, "host": url.host, "dbname": url.database}
    if url.host is not None and _ENCODED.search(url.host):
        keywords["host"] = unquote(url.host)
    if url.password is not None:
        keywords["password"] = str(url.password)
    if url.port is not None:
        keywords["port"] = str(url.port)
    query = dict(url.query)
    if "host" in query:
        keywords |= _hosts(query.pop("host"), has_ports="port" in query)
    # The text before an "@" may belong to a password that should have been percent-encoded.
    show = not any("@" in text for name, texts in url.normalized_query.items() for text in (name, *texts))
    for name, value in query.items():
        if not is_keyword(name):
            raise _unknown(name, value, show=show)
        if name in KEYWORDS and KEYWORDS[name].secret:
            raise ConfigError(
                f"the query of a SQLAlchemy URL contains {name}, which str(engine.url) would show",
                remedy="Write the password before the host (user:password@host), or pass the secret in connect_args.",
            )
        if not isinstance(value, str) and name not in ("port", "hostaddr"):
            raise ConfigError(f"the URL contains {name} more than once", remedy="Remove all but one.")
        keywords[name] = value if isinstance(value, str) else ",".join(value)
    return Config.from_conninfo(" ".join(f"{name}={quote(value)}" for name, value in keywords.items() if value))


def _unknown(name: str, value: str | tuple[str, ...], *, show: bool) -> ConfigError:
    """Return the error for an unknown parameter. It is shown only if it cannot be a part of a password."""
    message = "invalid URI query parameter:"
    if show and name in _ARGUMENTS:
        return ConfigError(f'{message} "{name}"', remedy=_ARGUMENTS[name].format(name=name))
    text = value if isinstance(value, str) else value[0]
    return unknown_keyword(name, text, message, "In a password, percent-encode :, /, @ and %.", show=show)


def _hosts(given: str | Iterable[str], *, has_ports: bool) -> dict[str, str | None]:
    """Return the keywords host and port for the value of ``?host=``.

    A host may contain its port if the query has no parameter `port`, as in SQLAlchemy's own dialects.
    """
    if isinstance(given, str) and (has_ports or "," in given):
        return {"host": given}
    names, ports = [], []
    for entry in [given] if isinstance(given, str) else given:
        found = _HOST_AND_PORT.fullmatch(entry)
        if found is None:
            names.append(entry)
            ports.append("")
        else:
            names.append(found["name"] if found["address"] is None else found["address"])
            ports.append(found["port1"] or found["port2"] or "")
    hosts = {"host": ",".join(names)}
    if not any(ports):
        return {**hosts}
    if has_ports:
        raise ConfigError("the URL contains the ports of its hosts twice", remedy="Remove the parameter port.")
    return {**hosts, "port": ",".join(ports)}


def url_from_config(config: Config, drivername: str) -> URL:
    """Return a URL with the user, the hosts and the database of a configuration, to show to users."""
    url = URL.create(drivername, username=config.user, database=config.database)
    if config.hosts:
        return url.set(query={"host": tuple(_shown(host) for host in config.hosts)})
    if config.targets[0].is_unix_socket:
        return url.set(query={"host": config.host, "port": str(config.port)})
    return url.set(host=config.host, port=config.port)


def mark(url: URL) -> URL:
    """Return the URL of `url_from_config` with a parameter that `config_from_url` refuses.

    A configuration made from such a URL would lack all other fields, among them those that require security.
    """
    return url.update_query_dict({MARKER: _SHOWN})


def _shown(host: Host) -> str:
    if host.is_unix_socket:
        return host.host
    return f"[{host.host}]:{host.port}" if ":" in host.host else f"{host.host}:{host.port}"
