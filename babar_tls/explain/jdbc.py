"""Translation of URLs of JDBC to libpq's parameters, and of parameters back to properties of pgjdbc."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..conninfo.syntax import quote
from ..errors import ConfigError
from ..tls.default_roots import default_roots
from .translation import ForeignUrl, decode, split_query

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PREFIX = "jdbc:postgresql:"
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
    "gssEncMode": "gssencmode",
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
_ADDED = {
    "sslmode": "sslmode",
    _FACTORY: _FACTORY,
    "sslrootcert": "sslrootcert",
    "channel_binding": "channelBinding",
    "require_auth": "requireAuth",
}
_SINCE = {
    "channel_binding": "channelBinding is enforced by pgjdbc 42.7.12 or later",
    "require_auth": "requireAuth needs pgjdbc 42.7.11 or later",
}
_SLASH = 'Write jdbc:postgresql://host:5432/database, with the "/" even without a database.'


#: Properties of the client certificate, which only pgjdbc's default factory uses.
_CERTIFICATE = {"sslcert", "sslkey", "sslpassword"}
_SECRETS = ("password", "sslpassword")
_PLAIN_NAME = re.compile("[A-Za-z][A-Za-z0-9_]{1,39}")


@dataclass(frozen=True)
class JdbcUrl(ForeignUrl):
    """A URL of pgjdbc. See `ForeignUrl`.

    Attributes:
        keeps_factory: Advice does not set `sslfactory`, because the URL has files that Java's factory ignores.
        needs_roots: Advice with `keeps_factory` sets the root file.
    """

    keeps_factory: bool = field(default=False, kw_only=True)
    needs_roots: bool = field(default=False, kw_only=True)

    def convert(self, parameters: Mapping[str, str]) -> dict[str, str]:
        """Return parameters with those of verification in pgjdbc's terms.

        It can use Java's trust store, but no other. Its factory ignores a client certificate in files, so that such a
        URL gets the file of this machine's trust store.
        """
        found = dict(parameters)
        if found.get("tls_verify") == "full":
            found["sslmode"] = "verify-full"
        if found.pop("sslrootcert", None) == "system" or "tls_default_roots" in found:
            if not self.keeps_factory:
                found[_FACTORY] = _JAVA_ROOTS
            elif self.needs_roots and (file := _default_root_file()):
                found["sslrootcert"] = file
        return {name: found[keyword] for keyword, name in _ADDED.items() if keyword in found}

    def advise(self, parameters: Mapping[str, str]) -> tuple[str, ...]:
        """See `ForeignUrl.advise`."""
        notes = []
        if self.needs_roots and "sslmode" in self.convert(parameters):
            notes.append(
                f"{_JAVA_ROOTS} ignores sslcert and sslkey, so the CA certificates must be in a file: set "
                "sslrootcert to the file of this machine's trust store, or of a private CA."
            )
        if needed := [_SINCE[keyword] for keyword in parameters if keyword in _SINCE]:
            notes.append(f"Older versions ignore parameters that they do not have: {', '.join(needed)}.")
        return tuple(notes)

    def adapt_remedy(self, remedy: str | None) -> str | None:
        """See `ForeignUrl.adapt_remedy`. pgjdbc has no ``sslrootcert=system``."""
        if remedy is None or "sslrootcert=system" not in remedy:
            return remedy
        if self.keeps_factory:
            return "Provide the file, or set sslrootcert to a file of CA certificates."
        return f"Provide the file, or use {_FACTORY}={_JAVA_ROOTS} for Java's trust store."


def translate(rest: str) -> JdbcUrl:
    """Translate a URL; `rest` is the text after the scheme.

    Raises:
        ConfigError: It is malformed.
    """
    server, _, query = rest.partition("?")
    values = _jdbc_server(server)
    items = list(split_query(query))
    properties = dict(items)
    for name, value in properties.items():
        if name == "targetServerType" and value in _SERVERS:
            values["target_session_attrs"] = _SERVERS[value]
        elif name == "loadBalanceHosts":
            values["load_balance_hosts"] = "random" if value.lower() == "true" else "disable"
        elif name in _PROPERTIES:
            values[_PROPERTIES[name]] = value
    if values.get("gssencmode", "").lower() == "allow":  # libpq has no mode that prefers connections without GSSAPI
        values["gssencmode"] = "prefer"
    factory, roots = properties.get(_FACTORY), properties.get("sslrootcert")
    # Advice keeps the URL's own files, even if pgjdbc does not use them yet.
    has_roots = roots not in (None, "system")
    has_certificate = any(name in properties for name in _CERTIFICATE)
    keeps_factory = factory != _JAVA_ROOTS and (has_roots or has_certificate)
    notes = ["This JDBC URL was translated to libpq's parameters, as pgjdbc interprets it."]
    notes += [*_jdbc_tls(values, properties), *_left_out(items)]
    replaced = {_FACTORY: "sslmode"} if keeps_factory and factory == _NO_VERIFICATION else {}
    if roots == "system":
        replaced["sslrootcert"] = "sslrootcert" if keeps_factory else _FACTORY
    return JdbcUrl(
        " ".join(f"{keyword}={quote(value)}" for keyword, value in values.items()),
        tuple(notes),
        replaced,
        "PGPASSFILE|PGSERVICEFILE|PGSYSCONFDIR",
        keeps_factory=keeps_factory,
        needs_roots=keeps_factory and not has_roots,
    )


def _default_root_file() -> str | None:
    try:
        return default_roots().cafile
    except ConfigError:
        return None


def _left_out(items: list[tuple[str, str]]) -> Iterator[str]:
    """Yield notes about properties that were not translated. A name that may be a part of a password is not shown."""
    known = {name.lower(): name for name in (*_PROPERTIES, "ssl", _FACTORY, "targetServerType", "loadBalanceHosts")}
    shown: list[str] = []
    others = follows_secret = False
    for name, _ in items:
        if name in known.values():
            follows_secret = name in _SECRETS
            continue
        near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.85)
        if near:
            shown.append(f"{name} (did you mean {known[near[0]]}?)" if _PLAIN_NAME.fullmatch(name) else known[near[0]])
        elif _PLAIN_NAME.fullmatch(name) and not follows_secret:
            shown.append(name)
        else:
            others = True
    if others:
        shown.append("properties whose names may belong to a password (percent-encode & in values)")
    if shown:
        yield f"Left out, because they have no counterpart in libpq or are unknown: {', '.join(shown)}."


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
        return {**values, **({"dbname": decode(database)} if database else {})}
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
    return {**values, **({"dbname": decode(database)} if database else {})}


def _jdbc_tls(values: dict[str, str], properties: Mapping[str, str]) -> Iterator[str]:
    """Set the parameters of TLS as pgjdbc understands them, and yield notes about them."""
    mode = values.get("sslmode", "").lower()
    if not mode:
        # org.postgresql.jdbc.SslMode: without sslmode, ssl=true or an empty ssl has this meaning.
        mode = "verify-full" if properties.get("ssl", "false").lower() in ("", "true") else "prefer"
        reason = "ssl in the URL" if mode == "verify-full" else "its default"
        yield f"pgjdbc uses sslmode={mode}: {reason}."
    factory = properties.get(_FACTORY)
    if factory in (_NO_VERIFICATION, _JAVA_ROOTS) and values.keys() & _CERTIFICATE:
        for name in _CERTIFICATE:
            values.pop(name, None)
        yield f"{factory} ignores sslcert and sslkey: no client certificate is sent."
    if values.get("sslrootcert") == "system":
        values["sslrootcert"] = "./system"
        if factory != _JAVA_ROOTS:
            yield (
                "pgjdbc reads sslrootcert=system as the name of a file. For Java's trust store, replace it by "
                f"{_FACTORY}={_JAVA_ROOTS}."
            )
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
