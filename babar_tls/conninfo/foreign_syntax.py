"""Connection strings of other libraries and tools: the cause of the failure, and the right spelling.

libpq's parser refuses all of these. The errors contain no part of the string except names that are listed here.
"""

from __future__ import annotations

import re

from ..errors import ConfigError

_QUOTES = "\"'`“”„‘’‚«»‹›<>()[]"  # noqa: RUF001 - typographic quotes are the point
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
        remedy = 'Pass "" for the defaults; is an environment variable that should contain the string unset?'
    else:
        remedy = "Pass its text: str(dsn)."
    raise ConfigError(f"the connection string must be a str, not {type(conninfo).__name__}", remedy=remedy)


def check_characters(uri: str) -> None:
    """Refuse control characters and invisible characters in a URI, where they are remains of copying.

    Raises:
        ConfigError: There is such a character.
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


def is_pasted(host: str) -> bool:
    """Return True if a host name has characters that are remains of copying or quoting."""
    return _NOT_IN_A_HOST.search(host) is not None


def check_host(host: str) -> None:
    """Refuse a host name with characters that are remains of copying or quoting.

    Raises:
        ConfigError: There is such a character.
    """
    found = _NOT_IN_A_HOST.search(host)
    if found is not None:
        raise ConfigError(
            f"unexpected character U+{ord(found[0]):04X} in host",
            remedy="Remove it; quote values of a keyword string with ' only.",
        )


def explain(text: str) -> ConfigError | None:
    """Return the error for a string that is no keyword string and does not begin with libpq's URI scheme.

    `None` if it does not look like a string that another library or a tool would accept.
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
    """Return the error for what stands before a URI, or for the beginning of a keyword string."""
    what = "URI" if uri else "connection info string"
    invisible = (_UNPRINTED if uri else _INVISIBLE_START).match(text)
    if invisible is not None:
        return f"unexpected character U+{ord(invisible[0]):04X} before {what}", _how_to_remove(invisible[0])
    if uri and text[:1].isspace():
        return "unexpected spaces before URI", "Remove them: conninfo.strip()."
    if text[:1] and text[0] in _QUOTES:
        return f"unexpected quote before {what}", "Remove the quotes around the connection string."
    if _COMMAND.match(text):
        return f"unexpected command before {what}", "Pass only the connection string, without the command."
    if uri and _ASSIGNMENT.fullmatch(text.rstrip(_QUOTES)):
        return (
            "unexpected assignment before URI",
            'Pass only what follows the "=", without quotes; it begins with "postgresql://".',
        )
    return None


def _explain_scheme(scheme: str) -> tuple[str, str]:
    if _DRIVER.fullmatch(scheme):
        return (
            f'invalid URI scheme "{scheme}"',
            f"{_USE}: the suffix selects a driver in SQLAlchemy; libpq does not accept it.",
        )
    if scheme.startswith("jdbc:"):
        return 'invalid URI scheme "jdbc:"', f'{_USE}, without "jdbc:", and libpq\'s names of parameters.'
    if scheme.lower() in ("postgresql", "postgres"):
        return "invalid URI scheme: it must be in lower case", f"{_USE}."
    return "invalid URI scheme", f"{_USE}: this library connects to PostgreSQL."


# Parameters --------------------------------------------------------------------------------------------------------

_PREPARED = "Remove it: this library prepares no statements."
_POOL = "Remove it: it is a setting of another library's pool."
_SCHEMA = "Use options=-csearch_path=… (in a URI: options=-csearch_path%3D…)."
_TIMEOUT = "Use connect_timeout, in seconds."
_SETTING = "Use options=-c…, for example options=-cstatement_timeout=5s (in a URI: options=-cstatement_timeout%3D5s)."
_VERIFY = "Use sslmode and sslrootcert."
_OTHER = "Remove it: it is a setting of another library."

#: Parameters of other libraries (asyncpg, SQLAlchemy, Prisma, JDBC, node-postgres, Npgsql) in lower case.
_PARAMETERS = {
    "pgbouncer": _PREPARED,
    "statement_cache_size": _PREPARED,
    "prepared_statement_cache_size": _PREPARED,
    "prepared_statement_name_func": _PREPARED,
    "preparethreshold": _PREPARED,
    "connection_limit": _POOL,
    "pool_timeout": _POOL,
    "pool_size": _POOL,
    "pool_mode": _POOL,
    "max_overflow": _POOL,
    "pooling": _POOL,
    "schema": _SCHEMA,
    "currentschema": _SCHEMA,
    "search_path": _SCHEMA,
    "timeout": _TIMEOUT,
    "connecttimeout": _TIMEOUT,
    "connection_timeout": _TIMEOUT,
    "logintimeout": _TIMEOUT,
    "sockettimeout": _TIMEOUT,
    "socket_timeout": _TIMEOUT,
    "statement_timeout": _SETTING,
    "lock_timeout": _SETTING,
    "idle_in_transaction_session_timeout": _SETTING,
    "timezone": _SETTING,
    "supa": _OTHER,
    "workaround": _OTHER,
    "async_fallback": _OTHER,
    "uselibpqcompat": _OTHER,
    "schema_search_path": _SCHEMA,
    "sslfactory": _VERIFY,
    "sslidentity": "Use sslcert and sslpassword.",
    "applicationname": "Use application_name.",
    "targetservertype": "Use target_session_attrs.",
    "database": "Use dbname.",
    "db": "Use dbname.",
    "username": "Use user.",
    "hostname": "Use host.",
    "server": "Use host.",
    "passwd": "Use password.",
    "pwd": "Use password.",
    "encoding": "Use client_encoding.",
    "charset": "Use client_encoding.",
}

_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_SSL_VALUES = {
    **dict.fromkeys(("1", "true", "on", "yes", "t", "required", "no-verify"), "require"),
    **dict.fromkeys(("0", "false", "off", "no", "f"), "disable"),
    **{mode: mode for mode in _SSL_MODES},
}
_SSL_ACCEPT = {"strict": "verify-full", "accept_invalid_certs": "require"}


def explain_parameter(name: str, value: str) -> str | None:
    """Return the remedy for a parameter that another library has under this name, `None` if none is known."""
    name = name.lower()
    if name == "ssl":
        mode = _SSL_VALUES.get(value.lower())
        return f"Use sslmode={mode}." if mode else f"Use sslmode: {', '.join(_SSL_MODES)}."
    if name == "sslaccept":
        mode = _SSL_ACCEPT.get(value.lower())
        return f"Use sslmode={mode}." if mode else f"Use sslmode: {', '.join(_SSL_MODES)}."
    return _PARAMETERS.get(name)
