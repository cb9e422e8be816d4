"""The syntax of libpq's connection strings: keywords and values, whatever they mean.

A malformed part of a string may belong to a password that should have been quoted or percent-encoded. So an error
shows no value, and nothing that stands after the name of a secret. Before that, it shows the names of keywords.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from ..diagnostics.tracebacks import clears_locals
from ..errors import ConfigError
from .foreign_syntax import as_text, check_characters, explain, explain_parameter
from .keywords import KEYWORDS

if TYPE_CHECKING:
    from collections.abc import Collection

_SCHEMES = ("postgresql://", "postgres://")
_OLD = "requiressl"
_LIST = "See https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS for the names."
_CHECK = "Remove it from the connection string, or quote it (keyword string) or percent-encode it (URI) as a value."
_QUOTING = "Write keyword=value, and values with spaces in single quotes: options='-c a=b'."
_LONGEST_NAME = 63

#: Names of secrets, in other libraries' spellings too; a URI inside a keyword string may contain a password.
_SECRET = re.compile(
    "|".join([*(keyword.name for keyword in KEYWORDS.values() if keyword.secret), "passw", "pwd", "passphrase", "://"]),
    re.IGNORECASE,
)


@clears_locals
def parse(conninfo: str) -> dict[str, str]:
    """Cut a URI or a keyword string into keywords and their values.

    Raises:
        ConfigError: It is malformed, or has an unknown keyword.
    """
    conninfo = as_text(conninfo)
    if "\0" in conninfo:
        raise ConfigError("the connection string contains a zero byte", remedy="Remove it: libpq's strings end there.")
    for scheme in _SCHEMES:
        if conninfo.startswith(scheme):
            return _parse_uri(conninfo[len(scheme) :])
    try:
        return _parse_keywords(conninfo, KEYWORDS)
    except ConfigError:
        error = explain(conninfo)
        if error is None:
            raise
    raise error


def split_pairs(text: str) -> dict[str, str]:
    """Cut a keyword string that may contain any keyword.

    Raises:
        ConfigError: It is malformed.
    """
    return _parse_keywords(text, None)


def quote(value: str) -> str:
    """A value as a keyword string holds it, in quotes where it needs them."""
    if value and not re.search(f"[{_SPACES}'\\\\]", value):
        return value
    return "'" + re.sub(r"(['\\])", r"\\\1", value) + "'"


def _check_known(keyword: str, value: str, *, show: bool, what: str, colon: str = "") -> None:
    if keyword in KEYWORDS:
        return
    if not show or not keyword.isidentifier() or len(keyword) > _LONGEST_NAME:
        raise ConfigError(f"invalid {what}", remedy=f"{_QUOTING if what == _OPTION else _ESCAPE} {_LIST}")
    near = difflib.get_close_matches(keyword.lower(), sorted(KEYWORDS), n=1)
    remedy = explain_parameter(keyword, value) or (f'Did you mean "{near[0]}"?' if near else f"{_CHECK} {_LIST}")
    raise ConfigError(f'invalid {what}{colon} "{keyword}"', remedy=remedy)


def names_secret(text: str) -> bool:
    """Return True if a value may contain a secret: a URI, or keywords that are not separated as in libpq."""
    if ":" in text.rpartition("@")[0]:  # user and password, as in a URI
        return True
    found = _SECRET.search(text)
    return found is not None and "=" in text[found.start() :]


def _first_secret(text: str) -> int:
    """Return where the name of the first secret stands."""
    found = _SECRET.search(text)
    return found.start() if found else len(text)


def _store(values: dict[str, str], keyword: str, value: str) -> None:
    if keyword == _OLD:  # from before there was sslmode
        keyword, value = "sslmode", "require" if value.startswith("1") else "prefer"
    values[keyword] = value


# Keyword strings ---------------------------------------------------------------------------------------------------

_SPACES = " \t\n\v\f\r"  # C's isspace: a password may well contain a no-break space
_BLANK = re.compile(f"[{_SPACES}]*")
_OPTION = "connection option"
_OTHERS = re.compile(f";[{_SPACES}]*([A-Za-z_]+)[{_SPACES}]*=")
_KEYWORD = re.compile(f"([^{_SPACES}=]+)[{_SPACES}]*=[{_SPACES}]*")


def _parse_keywords(text: str, known: Collection[str] | None) -> dict[str, str]:
    values: dict[str, str] = {}
    position = _skip_blanks(text, 0)
    secret_from = _first_secret(text)
    while position < len(text):
        # A password that should have been quoted continues as keywords.
        show = position <= secret_from
        match = _KEYWORD.match(text, position)
        if match is None:
            word = text[position:].partition("=")[0].split(" ", 1)[0]
            after = f' after "{word}"' if show and known is not None and word in known else ""
            curly = " Typographic quotes do not count." if set(text) & set("“”‘’") else ""  # noqa: RUF001 - meant
            raise ConfigError(f'missing "="{after} in connection info string', remedy=_QUOTING + curly)
        is_quoted = text.startswith("'", match.end())
        value, position = _keyword_value(text, match.end())
        keyword = match[1]
        if known is None:
            values[keyword] = value
        else:
            if keyword != _OLD:
                _check_known(keyword, value, show=show, what=_OPTION)
            if _SECRET.search(keyword) is None and not is_quoted:
                _check_separators(value)
            _store(values, keyword, value)
        position = _skip_blanks(text, position)
    return values


def _check_separators(value: str) -> None:
    """Other libraries' strings have semicolons; the rest of one, its password included, would be a host to the DNS."""
    if any(match[1].lower() in KEYWORDS for match in _OTHERS.finditer(value)):
        raise ConfigError(
            'parameters are separated by ";" in connection info string',
            remedy="libpq separates them by spaces: host=… user=….",
        )


def _skip_blanks(text: str, position: int) -> int:
    blank = _BLANK.match(text, position)
    return blank.end() if blank is not None else position


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
        elif not quoted and char in _SPACES:
            break
        else:
            value.append(char)
    if quoted:
        raise ConfigError(
            "unterminated quoted string in connection info string",
            remedy="End the value with a single quote; in a keyword string, write ' in a value as \\' and \\ as \\\\.",
        )
    return "".join(value), position


# URIs --------------------------------------------------------------------------------------------------------------

_HOST_END = re.compile("[:/?,]")
_PORT_END = re.compile("[/?,]")
_PARAMETER = "URI query parameter"
_ESCAPE = 'In a password, percent-encode "@", "/", "?", "&", "%" and spaces: %40, %2F, %3F, %26, %25, %20.'
_BRACKETS = 'Write an IPv6 address as host in brackets: [::1]:5432. In a password, percent-encode "[": %5B.'


def _parse_uri(rest: str) -> dict[str, str]:
    check_characters(rest)
    raw: dict[str, str] = {}
    credentials = re.match("([^@/]*)@", rest)  # libpq's order: the first "@", unless a "/" comes before it
    authority = ""
    if credentials is not None:
        authority = credentials[1]
        raw["user"], _, raw["password"] = authority.partition(":")
        _check_not_masked(raw["password"])
        rest = rest[credentials.end() :]
    hosts, ports, rest, has_colon = _cut_hosts(rest)
    raw["host"], raw["port"] = ",".join(hosts), ",".join(ports)
    path, _, query = rest.partition("?")
    # An "@" here may follow a password that contains "/" or "@": libpq would take a part of it for the host.
    if "@" in path and (":" in authority if credentials is not None else has_colon):
        raise ConfigError('unexpected "@" in the path of URI', remedy=_ESCAPE)
    raw["dbname"] = path.removeprefix("/")
    # An empty part leaves the keyword open, which the environment may then fill; one of encoded nothing does not.
    values = {keyword: _decode(text) for keyword, text in raw.items() if text}
    if not re.fullmatch("[0-9,]*", values.get("port", "")):  # not shown: it may be the beginning of a password
        raise ConfigError('invalid integer value for connection option "port"', remedy=_ESCAPE)
    values.update(_parse_query(query))
    return values


def _check_not_masked(password: str) -> None:
    if re.fullmatch(r"\*{3,}", password):
        raise ConfigError(
            "the password in URI is masked by asterisks",
            remedy="Pass the text with its password: url.render_as_string(hide_password=False) in SQLAlchemy, "
            "dsn.get_secret_value() in pydantic. A password of asterisks is written %2A%2A%2A.",
        )


def _cut_hosts(text: str) -> tuple[list[str], list[str], str, bool]:
    """Return the hosts and ports at the beginning, undecoded, the rest, and whether a port's colon was there."""
    hosts, ports, position, has_colon = [], [], 0, False
    while True:
        if text.startswith("[", position):
            host, position = _bracketed(text, position + 1)
        else:
            host, position = _until(_HOST_END, text, position)
        port = ""
        if text.startswith(":", position):
            has_colon = True
            port, position = _until(_PORT_END, text, position + 1)
        if "@" in host or "@" in port:  # libpq would look for a host with an "@" in its name, and tell the DNS
            raise ConfigError('more than one "@" before the host in URI', remedy=_ESCAPE)
        hosts.append(host)
        ports.append(port)
        if not text.startswith(",", position):
            return hosts, ports, text[position:], has_colon
        position += 1


def _bracketed(text: str, position: int) -> tuple[str, int]:
    end = text.find("]", position)
    if end < 0:
        raise ConfigError(
            'end of string reached when looking for matching "]" in IPv6 host address in URI', remedy=_BRACKETS
        )
    if end == position:
        raise ConfigError("IPv6 host address may not be empty in URI", remedy=_BRACKETS)
    after = text[end + 1 : end + 2]
    if after not in ("", *":/?,"):
        raise ConfigError(f'unexpected character "{after}" in URI (expected ":" or "/")', remedy=_BRACKETS)
    return text[position:end], end + 1


def _until(end: re.Pattern[str], text: str, position: int) -> tuple[str, int]:
    match = end.search(text, position)
    stop = match.start() if match else len(text)
    return text[position:stop], stop


def _parse_query(query: str) -> dict[str, str]:
    values: dict[str, str] = {}
    # An "@" may be what follows a password that should have been percent-encoded.
    secret_from = -1 if "@" in query else _first_secret(query)
    position = 0
    for item in query.removesuffix("&").split("&") if query else ():
        show = position <= secret_from
        position += len(item) + 1
        name, equals, text = item.partition("=")
        keyword, value = _decode(name), _decode(text)
        if _SECRET.search(keyword):  # its name may be percent-encoded
            secret_from = min(secret_from, position - 1)
        shown = f': "{keyword}"' if show and (keyword in KEYWORDS or not keyword) else ""
        if not equals:
            raise ConfigError(f'missing key/value separator "=" in URI query parameter{shown}', remedy=_ESCAPE)
        if "=" in text:
            raise ConfigError(f'extra key/value separator "=" in URI query parameter{shown}', remedy=_ESCAPE)
        if keyword == "ssl" and value == "true":  # JDBC's spelling, which libpq takes too
            keyword, value = "sslmode", "require"
        if keyword != _OLD:
            _check_known(keyword, value, show=show, what=_PARAMETER, colon=":")
        _store(values, keyword, value)
    return values


def _decode(text: str) -> str:
    """Percent-decoding as libpq does it: strict, no zero bytes, and spaces only around what is encoded."""
    text = text.strip(" ")
    if " " in text:
        raise ConfigError("unexpected spaces found in URI, use percent-encoded spaces (%20) instead", remedy=_ESCAPE)
    for position in (match.start() for match in re.finditer("%", text)):
        if not re.fullmatch("[0-9A-Fa-f]{2}", text[position + 1 : position + 3]):
            raise ConfigError("invalid percent-encoded token in URI", remedy="Write a literal % in a URI as %25.")
    try:
        decoded = unquote_to_bytes(text).decode()
    except UnicodeError:
        raise ConfigError(
            "a value in the URI is not UTF-8", remedy="Write the URI in UTF-8; percent-encode the bytes of UTF-8."
        ) from None
    if "\0" in decoded:
        raise ConfigError("forbidden value %00 in percent-encoded value", remedy="Remove %00 from the URI.")
    return decoded
