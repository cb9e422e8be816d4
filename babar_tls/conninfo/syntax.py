"""The syntax of libpq's connection strings. It splits them into keywords and values, without interpreting these.

A malformed part of a string may belong to a password that should have been quoted or percent-encoded. Therefore errors
show no values, and no text after the name of a secret. They show names of keywords before it.
"""

from __future__ import annotations

import difflib
import re
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from ..diagnostics.tracebacks import clears_locals
from ..errors import ConfigError
from .foreign_syntax import as_text, check_characters, explain, explain_parameter
from .keywords import KEYWORDS

if TYPE_CHECKING:
    from collections.abc import Iterator

_SCHEMES = ("postgresql://", "postgres://")
_LIST = "See https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS for the names."
_CHECK = "Remove it from the connection string, or quote it (keyword string) or percent-encode it (URI) as a value."
_QUOTING = "Write keyword=value, and values with spaces in single quotes: options='-c a=b'."
_HOST_ONLY = "Write a host as host=NAME or host=NAME port=NUMBER, and other parameters as keyword=value."
_ESCAPE = 'In a password, percent-encode "@", "/", "?", "&", "%" and spaces: %40, %2F, %3F, %26, %25, %20.'
_BRACKETS = 'Write an IPv6 address as host in brackets: [::1]:5432. In a password, percent-encode "[": %5B.'
_OLD = "requiressl"  # the predecessor of sslmode
_LONGEST_NAME = 63
_SPACES = " \t\n\v\f\r"  # C's isspace: a no-break space may belong to a password

#: Names of secrets, in other libraries' spellings too; a URI inside a keyword string may contain a password.
_SECRET = re.compile(
    "|".join([*(keyword.name for keyword in KEYWORDS.values() if keyword.secret), "passw", "pwd", "passphrase", "://"]),
    re.IGNORECASE,
)


@clears_locals
def parse(conninfo: str) -> dict[str, str]:
    """Split a URI or a keyword string into keywords and their values.

    Raises:
        ConfigError: It is malformed, or has an unknown keyword.
    """
    conninfo = as_text(conninfo)
    if "\0" in conninfo:
        raise ConfigError(
            "the connection string contains a NUL", remedy="Remove it: libpq ignores the text after a NUL."
        )
    for scheme in _SCHEMES:
        if conninfo.startswith(scheme):
            return _parse_uri(conninfo[len(scheme) :])
    try:
        return _parse_keywords(conninfo)
    except ConfigError:
        error = explain(conninfo)
        if error is None:
            raise
    raise error


def quote(value: str) -> str:
    """Return a value in the syntax of a keyword string, in quotes if necessary."""
    if value and not re.search(f"[{_SPACES}'\\\\;]", value):
        return value
    return "'" + re.sub(r"(['\\])", r"\\\1", value) + "'"


def names_secret(text: str) -> bool:
    """Return True if a value may contain a secret: a URI, or keywords that are not separated as in libpq."""
    if ":" in text.rpartition("@")[0]:  # user and password, as in a URI
        return True
    found = _SECRET.search(text)
    return found is not None and "=" in text[found.start() :]


def is_keyword(name: str) -> bool:
    """Return True if a connection string may contain this keyword."""
    return name in KEYWORDS or name == _OLD


def unknown_keyword(keyword: str, value: str, message: str, syntax: str, *, show: bool) -> ConfigError:
    """Return the error for an unknown keyword. It may belong to a password, so it is shown only if it is a plain word.

    Args:
        keyword: The keyword.
        value: Its value.
        message: libpq's message before the keyword.
        syntax: The remedy if the keyword is not shown.
        show: False if the keyword follows the name of a secret.
    """
    if not show or not keyword.isidentifier() or len(keyword) > _LONGEST_NAME:
        return ConfigError(message.rstrip(":"), remedy=f"{syntax} {_LIST}")
    near = difflib.get_close_matches(keyword.lower(), sorted(KEYWORDS), n=1)
    remedy = explain_parameter(keyword, value) or (f'Did you mean "{near[0]}"?' if near else f"{_CHECK} {_LIST}")
    return ConfigError(f'{message} "{keyword}"', remedy=remedy)


def _add(values: dict[str, str], keyword: str, value: str) -> None:
    if keyword == _OLD:
        keyword, value = "sslmode", "require" if value.startswith("1") else "prefer"
    values[keyword] = value


# Keyword strings ---------------------------------------------------------------------------------------------------

_KEYWORD = re.compile(f"([^{_SPACES}=]++)[{_SPACES}]*+=[{_SPACES}]*+")
#: A value with quotes, or one without, and the spaces after it. libpq ignores a backslash at the end of the string.
_VALUE = re.compile(
    rf"(?:'((?:[^'\\]|\\.)*+)'|(?!')((?:[^{_SPACES}\\]|\\.|\\\Z)*+))[{_SPACES}]*+",
    re.DOTALL,
)
_SEMICOLON = re.compile(f";[{_SPACES}]*([A-Za-z_]+)[{_SPACES}]*=")


def split_pairs(text: str) -> dict[str, str]:
    """Split a keyword string that may contain any keyword.

    Raises:
        ConfigError: It is malformed.
    """
    return {keyword: value for keyword, value, _, _ in _pairs(text)}


def _pairs(text: str) -> Iterator[tuple[str, str, bool, bool]]:
    """Yield each keyword, its value, whether the value has quotes, and whether an error may show the keyword."""
    secret = _SECRET.search(text)
    position = len(text) - len(text.lstrip(_SPACES))
    while position < len(text):
        # The rest of a password that should have been quoted is parsed as keywords.
        show = secret is None or position <= secret.start()
        match = _KEYWORD.match(text, position)
        if match is None:
            word = text[position:].partition("=")[0].split(" ", 1)[0]
            after = f' after "{word}"' if show and word in KEYWORDS else ""
            curly = " Typographic quotes are not supported." if set(text) & set("“”‘’") else ""  # noqa: RUF001 - meant
            remedy = _QUOTING + curly if "=" in text or curly else _HOST_ONLY
            raise ConfigError(f'missing "="{after} in connection info string', remedy=remedy)
        value = _VALUE.match(text, match.end())
        if value is None:
            raise ConfigError(
                "unterminated quoted string in connection info string",
                remedy="End the value with a single quote; in a keyword string, write ' in a value as \\' "
                "and \\ as \\\\.",
            )
        unescaped = re.sub(r"\\(.?)", r"\1", value[1] or value[2] or "", flags=re.DOTALL)
        yield match[1], unescaped, value[1] is not None, show
        position = value.end()


def _parse_keywords(text: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for keyword, value, is_quoted, show in _pairs(text):
        if not is_keyword(keyword):
            raise unknown_keyword(keyword, value, "invalid connection option", _QUOTING, show=show)
        # Other libraries separate by semicolons. The rest of the string, with its password, would be sent to the DNS.
        others = () if is_quoted or _SECRET.search(keyword) else _SEMICOLON.findall(value)
        if any(other.lower() in KEYWORDS for other in others):
            raise ConfigError(
                'parameters are separated by ";" in connection info string',
                remedy="libpq separates them by spaces: host=… user=….",
            )
        _add(values, keyword, value)
    return values


# URIs --------------------------------------------------------------------------------------------------------------

#: A host, which may be an address in brackets, and a port with its colon.
_HOST = re.compile(r"(?:\[([^\]]+)\](?=[:/?,]|\Z)|(?!\[)([^:/?,]*))(:[^/?,]*)?")


def _parse_uri(rest: str) -> dict[str, str]:
    check_characters(rest)
    raw: dict[str, str] = {}
    credentials = re.match("([^@/]*)@", rest)  # libpq's order: the first "@", unless a "/" comes before it
    if credentials is not None:
        raw["user"], _, raw["password"] = credentials[1].partition(":")
        if re.fullmatch(r"\*{3,}", raw["password"]):
            raise ConfigError(
                "the password in URI is masked by asterisks",
                remedy="Pass the text with its password: url.render_as_string(hide_password=False) in SQLAlchemy, "
                "dsn.get_secret_value() in pydantic. Write a password that consists of asterisks as %2A%2A%2A.",
            )
        rest = rest[credentials.end() :]
    hosts, ports, rest = _split_hosts(rest)
    raw["host"], raw["port"] = ",".join(hosts), ",".join(port[1:] for port in ports)
    path, _, query = rest.partition("?")
    # An "@" here may follow a password that contains "/" or "@": libpq would take a part of it for the host.
    if "@" in path and (":" in credentials[1] if credentials is not None else any(ports)):
        raise ConfigError('unexpected "@" in the path of URI', remedy=_ESCAPE)
    raw["dbname"] = path.removeprefix("/")
    # An empty part sets no keyword, so the environment may set it. A part that is empty after decoding sets it.
    values = {keyword: _decode(text) for keyword, text in raw.items() if text}
    if not re.fullmatch("[0-9,]*", values.get("port", "")):  # not shown: it may be the beginning of a password
        raise ConfigError('invalid integer value for connection option "port"', remedy=_ESCAPE)
    _parse_query(query, values)
    return values


def _split_hosts(text: str) -> tuple[list[str], list[str], str]:
    """Return the hosts, their ports with the colons, and the rest of the text. Nothing is decoded yet."""
    hosts, ports, position = [], [], 0
    while True:
        match = _HOST.match(text, position)
        if match is None:
            raise _bad_brackets(text[position + 1 :])
        hosts.append(match[1] or match[2])
        ports.append(match[3] or "")
        if "@" in hosts[-1] or "@" in ports[-1]:  # libpq would send a name that contains "@" to the DNS
            raise ConfigError('more than one "@" before the host in URI', remedy=_ESCAPE)
        position = match.end()
        if not text.startswith(",", position):
            return hosts, ports, text[position:]
        position += 1


def _bad_brackets(text: str) -> ConfigError:
    """Return the error for an address whose opening bracket precedes `text`."""
    address, bracket, after = text.partition("]")
    if not bracket:
        message = 'end of string reached when looking for matching "]" in IPv6 host address in URI'
    elif not address:
        message = "IPv6 host address may not be empty in URI"
    else:
        message = f'unexpected character "{after[0]}" in URI (expected ":" or "/")'
    return ConfigError(message, remedy=_BRACKETS)


def _parse_query(query: str, values: dict[str, str]) -> None:
    """Add the parameters of a query to `values`."""
    # The text before an "@" may belong to a password that should have been percent-encoded.
    show = "@" not in query
    for item in query.removesuffix("&").split("&") if query else ():
        name, equals, text = item.partition("=")
        keyword, value = _decode(name), _decode(text)
        shown = f': "{keyword}"' if show and (keyword in KEYWORDS or not keyword) else ""
        if not equals:
            raise ConfigError(f'missing key/value separator "=" in URI query parameter{shown}', remedy=_ESCAPE)
        if "=" in text:
            raise ConfigError(f'extra key/value separator "=" in URI query parameter{shown}', remedy=_ESCAPE)
        if (keyword, value) == ("ssl", "true"):  # JDBC's spelling, which libpq accepts too
            keyword, value = "sslmode", "require"
        if not is_keyword(keyword):
            raise unknown_keyword(keyword, value, "invalid URI query parameter:", _ESCAPE, show=show)
        # The name of a secret may be percent-encoded. Its value may contain "&".
        show = show and not (_SECRET.search(item) or _SECRET.search(keyword))
        _add(values, keyword, value)


def _decode(text: str) -> str:
    """Decode percent-encoding as strictly as libpq: NUL is refused, and so are spaces except around the text."""
    text = text.strip(" ")
    if " " in text:
        raise ConfigError("unexpected spaces found in URI, use percent-encoded spaces (%20) instead", remedy=_ESCAPE)
    if re.search("%(?![0-9A-Fa-f]{2})", text):
        raise ConfigError("invalid percent-encoded token in URI", remedy="Write a literal % in a URI as %25.")
    decoded = None
    with suppress(UnicodeError):  # it contains the value, so it must not be the context of the error
        decoded = unquote_to_bytes(text).decode()
    if decoded is None:
        raise ConfigError(
            "a value in the URI is not UTF-8", remedy="Write the URI in UTF-8; percent-encode the bytes of UTF-8."
        )
    if "\0" in decoded:
        raise ConfigError("forbidden value %00 in percent-encoded value", remedy="Remove %00 from the URI.")
    return decoded
