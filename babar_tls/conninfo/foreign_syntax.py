"""Errors for connection strings of other libraries and tools, with the cause and the correct spelling.

libpq's parser refuses all of these. The errors contain no part of the string except names that are listed here.
"""

from __future__ import annotations

import re

from ..errors import ConfigError

_QUOTES = "\"'`“”„‘’‚«»‹›<>()[]"  # noqa: RUF001 - these quotes are searched for
_INVISIBLE = "\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff"
_UNPRINTED = re.compile(f"[\x00-\x1f\x7f{_INVISIBLE}]")
_INVISIBLE_START = re.compile(f"[{_INVISIBLE}]")
_NOT_IN_A_HOST = re.compile(f"[\\s\x00-\x1f\x7f{_INVISIBLE}“”„‘’‚\"'`=;&]")  # noqa: RUF001 - as above
_ASSIGNMENT = re.compile(r"(?:(?:export|set|setenv|env|ENV|const|let|var)\s+)?\$?(?:env:)?[A-Za-z_][\w.]*\s*[=:]\s*")
_COMMAND = re.compile(r"\$?\s*(?:psql|pg_dump|pg_restore|pgcli|createdb|export|set|env)\s")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+._:-]*$")
_LONGEST_SCHEME = 100
_DRIVER = re.compile(r"postgres(?:ql)?\+[a-z0-9_]{1,20}")
_USE = 'Use "postgresql://"'
_TRANSLATE = "The command babar-tls explain translates the URLs of common drivers."


def as_text(conninfo: object) -> str:
    """Return a connection string, which must be a str.

    Raises:
        ConfigError: It is an object of another type; the remedy says how to get its text.
    """
    if isinstance(conninfo, str):
        return conninfo
    if hasattr(conninfo, "render_as_string"):  # SQLAlchemy, whose str() replaces the password by ***
        remedy = 'Pass url.render_as_string(hide_password=False) of a URL whose drivername is "postgresql".'
    elif hasattr(conninfo, "get_secret_value"):
        remedy = "Pass dsn.get_secret_value()."
    elif isinstance(conninfo, bytes | bytearray):
        remedy = "Pass dsn.decode()."
    elif isinstance(conninfo, dict):
        remedy = "Pass the items as fields: Config(**fields)."
    elif conninfo is None:
        remedy = 'Pass "" for the defaults. If an environment variable contains the string, check that it is set.'
    else:
        remedy = "Pass its text: str(dsn)."
    raise ConfigError(f"the connection string must be a str, not {type(conninfo).__name__}", remedy=remedy)


def check_characters(uri: str) -> None:
    """Refuse control characters and invisible characters in a URI, which copying may add.

    Raises:
        ConfigError: The URI contains such a character.
    """
    found = _UNPRINTED.search(uri)
    if found is not None:
        raise ConfigError(
            f"unexpected character U+{ord(found[0]):04X} in URI",
            remedy=f"{_how_to_remove(found[0])} Percent-encode it if it belongs to a value.",
        )


def _how_to_remove(char: str) -> str:
    if char == "\ufeff":
        return 'Remove the byte order mark: conninfo.lstrip("\\ufeff"), or read the file as "utf-8-sig".'
    return "Remove it: conninfo.strip()." if char.isspace() else "Remove this invisible character."


def pasted_character(host: str) -> str | None:
    """Return the first character of a host name that copying or quoting may have added; None for a socket directory."""
    found = None if host.startswith(("/", "@")) else _NOT_IN_A_HOST.search(host)
    return None if found is None else found[0]


def check_host(host: str) -> None:
    """Refuse a host name with characters that copying or quoting may add.

    Raises:
        ConfigError: The name contains such a character.
    """
    character = pasted_character(host)
    if character is not None:
        raise ConfigError(
            f"unexpected character U+{ord(character):04X} in host",
            remedy="Remove it; quote values of a keyword string with ' only.",
        )


def explain(text: str) -> ConfigError | None:
    """Return the error for a string that is not a keyword string and does not begin with libpq's URI scheme.

    Returns:
        The error; None if the string does not look like one that another library or a tool would accept.
    """
    head, separator, _ = text.partition("://")
    scheme = _SCHEME.search(head[-_LONGEST_SCHEME:]) if separator else None
    before = head.removesuffix(scheme[0]) if scheme is not None else text
    found = _explain_beginning(before, uri=scheme is not None)
    if found is None and scheme is not None and not before:
        found = _explain_scheme(scheme[0])
    elif found is None and re.match("postgres(?:ql)?:", text, re.IGNORECASE):
        found = 'invalid URI scheme: "://" expected', f"{_USE}."
    return None if found is None else ConfigError(found[0], remedy=found[1])


def _explain_beginning(text: str, *, uri: bool) -> tuple[str, str] | None:
    """Return the error for the text before a URI, or for the beginning of a keyword string."""
    invisible = (_UNPRINTED if uri else _INVISIBLE_START).match(text)
    if invisible is not None:
        what, remedy = f"character U+{ord(invisible[0]):04X}", _how_to_remove(invisible[0])
    elif uri and text[:1].isspace():
        what, remedy = "spaces", "Remove them: conninfo.strip()."
    elif text[:1] and text[0] in _QUOTES:
        what, remedy = "quote", "Remove the quotes around the connection string."
    elif _COMMAND.match(text):
        what, remedy = "command", "Pass only the connection string, without the command."
    elif uri and _ASSIGNMENT.fullmatch(text.rstrip(_QUOTES)):
        what = "assignment"
        remedy = 'Pass only the text after the "=", without quotes; it begins with "postgresql://".'
    else:
        return None
    return f"unexpected {what} before {'URI' if uri else 'connection info string'}", remedy


def _explain_scheme(scheme: str) -> tuple[str, str]:
    if _DRIVER.fullmatch(scheme):
        return (
            f'invalid URI scheme "{scheme}"',
            f"{_USE}: the suffix selects a driver in SQLAlchemy; libpq does not accept it. {_TRANSLATE}",
        )
    if scheme.startswith("jdbc:postgresql"):
        return 'invalid URI scheme "jdbc:"', f'{_USE}, without "jdbc:", and libpq\'s names of parameters. {_TRANSLATE}'
    if scheme.lower() in ("postgresql", "postgres"):
        return "invalid URI scheme: it must be in lower case", f"{_USE}."
    return "invalid URI scheme", f"{_USE}: this library connects to PostgreSQL."


# Parameters --------------------------------------------------------------------------------------------------------

#: Names of parameters of other libraries (asyncpg, SQLAlchemy, Prisma, JDBC, node-postgres, Npgsql), by remedy.
_PARAMETERS = {
    "Remove it. With asyncpg, pass it to connect as an argument.": (
        "statement_cache_size max_cached_statement_lifetime max_cacheable_statement_size command_timeout"
    ),
    "Remove it. With asyncpg, pass statement_cache_size=0 to connect.": "pgbouncer preparethreshold",
    "Remove it. With SQLAlchemy and asyncpg, pass it in connect_args.": (
        "prepared_statement_cache_size prepared_statement_name_func"
    ),
    "Remove it: it is a setting of another library's pool.": (
        "connection_limit pool_timeout pool_size pool_mode max_overflow pooling"
    ),
    "Use options=-csearch_path=… (in a URI: options=-csearch_path%3D…).": (
        "schema currentschema search_path schema_search_path"
    ),
    "Use connect_timeout, in seconds.": (
        "timeout connecttimeout connection_timeout logintimeout sockettimeout socket_timeout"
    ),
    "Use options=-c…, for example options=-cstatement_timeout=5s (in a URI: options=-cstatement_timeout%3D5s).": (
        "statement_timeout lock_timeout idle_in_transaction_session_timeout timezone"
    ),
    "Remove it: it is a setting of another library.": "supa workaround async_fallback uselibpqcompat",
    "Use sslmode and sslrootcert.": "sslfactory",
    "Use sslcert and sslpassword.": "sslidentity",
    "Use application_name.": "applicationname",
    "Use target_session_attrs.": "targetservertype",
    "Use dbname.": "database db",
    "Use user.": "username",
    "Use host.": "hostname server",
    "Use password.": "passwd pwd",
    "Use client_encoding.": "encoding charset",
}
_REMEDIES = {name: remedy for remedy, names in _PARAMETERS.items() for name in names.split()}

_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_SSL_VALUES = {
    **dict.fromkeys(("1", "true", "on", "yes", "t", "required", "no-verify"), "require"),
    **dict.fromkeys(("0", "false", "off", "no", "f"), "disable"),
    **{mode: mode for mode in _SSL_MODES},
}
#: The modes of libpq by the values of parameters of other libraries; ``sslaccept`` is a parameter of Prisma.
_MODES = {"ssl": _SSL_VALUES, "sslaccept": {"strict": "verify-full", "accept_invalid_certs": "require"}}


def explain_parameter(name: str, value: str) -> str | None:
    """Return the remedy for a parameter that another library has under this name; None if it is unknown."""
    name = name.lower()
    if name in _MODES:
        mode = _MODES[name].get(value.lower())
        return f"Use sslmode={mode}." if mode else f"Use sslmode: {', '.join(_SSL_MODES)}."
    return _REMEDIES.get(name)
