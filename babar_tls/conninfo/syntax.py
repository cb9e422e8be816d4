"""The syntax of libpq's connection strings: keywords and values, whatever they mean.

What is malformed may be a password that should have been quoted or percent-encoded, so errors show of the string only
what cannot be a piece of one.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from ..errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection

_SCHEMES = ("postgresql://", "postgres://")
_OLD = "requiressl"


def split(conninfo: str, known: Collection[str]) -> dict[str, str]:
    """Cut a URI or a keyword string into keywords and their values.

    Args:
        conninfo: The connection string.
        known: The keywords that there are.

    Raises:
        ConfigError: It is malformed, or has an unknown keyword.
    """
    if "\0" in conninfo:
        raise ConfigError("the connection string contains a zero byte")
    for scheme in _SCHEMES:
        if conninfo.startswith(scheme):
            return _parse_uri(conninfo[len(scheme) :], known)
    return _parse_keywords(conninfo, known)


def split_pairs(text: str) -> dict[str, str]:
    """Cut a keyword string whose keywords are anybody's.

    Raises:
        ConfigError: It is malformed.
    """
    return _parse_keywords(text, None)


def quote(value: str) -> str:
    """A value as a keyword string holds it, in quotes where it needs them."""
    if value and not re.search(f"[{_SPACES}'\\\\]", value):
        return value
    return "'" + re.sub(r"(['\\])", r"\\\1", value) + "'"


def _check_known(keyword: str, known: Collection[str], *, show: bool, what: str = "connection option") -> None:
    if keyword in known:
        return
    near = difflib.get_close_matches(keyword, sorted(known), n=1)
    colon = "" if what == "connection option" else ":"
    raise ConfigError(
        f'invalid {what}{colon} "{keyword}"' if show and keyword.isidentifier() else f"invalid {what}",
        remedy=f'Did you mean "{near[0]}"?' if near else "See the list of connection parameters.",
    )


def _store(values: dict[str, str], keyword: str, value: str) -> None:
    if keyword == _OLD:  # from before there was sslmode
        keyword, value = "sslmode", "require" if value.startswith("1") else "prefer"
    values[keyword] = value


# Keyword strings ---------------------------------------------------------------------------------------------------

_SPACES = " \t\n\v\f\r"  # C's isspace: a password may well contain a no-break space
_BLANK = re.compile(f"[{_SPACES}]*")
_OTHERS = re.compile(f";[{_SPACES}]*([A-Za-z_]+)[{_SPACES}]*=")
_KEYWORD = re.compile(f"([^{_SPACES}=]+)[{_SPACES}]*=[{_SPACES}]*")


def _parse_keywords(text: str, known: Collection[str] | None) -> dict[str, str]:
    values: dict[str, str] = {}
    position = _skip_blanks(text, 0)
    while position < len(text):
        # A password that should have been quoted goes on as keywords: those after it are not shown.
        secret = "password" in values
        match = _KEYWORD.match(text, position)
        if match is None:
            word = text[position:].partition("=")[0].split(" ", 1)[0]
            after = f' after "{word}"' if word.isidentifier() and not secret else ""
            raise ConfigError(f'missing "="{after} in connection info string')
        if known is not None and match[1] != _OLD:
            _check_known(match[1], known, show=not secret)
        value, position = _keyword_value(text, match.end())
        if known is not None and "password" not in match[1]:
            _check_separators(value, known)
        if known is None:
            values[match[1]] = value
        else:
            _store(values, match[1], value)
        position = _skip_blanks(text, position)
    return values


def _check_separators(value: str, known: Collection[str]) -> None:
    """Other libraries' strings have semicolons; the rest of one, its password included, would be a host to the DNS."""
    if any(match[1].lower() in known for match in _OTHERS.finditer(value)):
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
        raise ConfigError("unterminated quoted string in connection info string")
    return "".join(value), position


# URIs --------------------------------------------------------------------------------------------------------------

_HOST_END = re.compile("[:/?,]")
_PORT_END = re.compile("[/?,]")
_ESCAPE = 'In a password, percent-encode "@", "/", "?", "&", "%" and spaces: %40, %2F, %3F, %26, %25, %20.'


def _parse_uri(rest: str, known: Collection[str]) -> dict[str, str]:
    raw: dict[str, str] = {}
    credentials = re.match("([^@/]*)@", rest)  # libpq's order: the first "@", unless a "/" comes before it
    if credentials is not None:
        raw["user"], _, raw["password"] = credentials[1].partition(":")
        rest = rest[credentials.end() :]
    hosts, ports, rest = _cut_hosts(rest)
    raw["host"], raw["port"] = ",".join(hosts), ",".join(ports)
    path, _, query = rest.partition("?")
    if (
        "@" in path and credentials is None and any(ports)
    ):  # what stands before it is a password with a "/", or some of one
        raise ConfigError('unexpected "@" in the path of URI', remedy=_ESCAPE)
    raw["dbname"] = path.removeprefix("/")
    # An empty part leaves the keyword open, which the environment may then fill; one of encoded nothing does not.
    values = {keyword: _decode(text) for keyword, text in raw.items() if text}
    if not re.fullmatch("[0-9,]*", values.get("port", "")):  # not shown: it may be the beginning of a password
        raise ConfigError('invalid integer value for connection option "port"', remedy=_ESCAPE)
    values.update(_parse_query(query, known))
    return values


def _cut_hosts(text: str) -> tuple[list[str], list[str], str]:
    """The hosts and ports that a location begins with, undecoded, and what comes after them."""
    hosts, ports, position = [], [], 0
    while True:
        if text.startswith("[", position):
            host, position = _bracketed(text, position + 1)
        else:
            host, position = _until(_HOST_END, text, position)
        port = ""
        if text.startswith(":", position):
            port, position = _until(_PORT_END, text, position + 1)
        if "@" in host or "@" in port:  # libpq would look for a host with an "@" in its name, and tell the DNS
            raise ConfigError('more than one "@" before the host in URI', remedy=_ESCAPE)
        hosts.append(host)
        ports.append(port)
        if not text.startswith(",", position):
            return hosts, ports, text[position:]
        position += 1


def _bracketed(text: str, position: int) -> tuple[str, int]:
    end = text.find("]", position)
    if end < 0:
        raise ConfigError('end of string reached when looking for matching "]" in IPv6 host address in URI')
    if end == position:
        raise ConfigError("IPv6 host address may not be empty in URI")
    after = text[end + 1 : end + 2]
    if after not in ("", *":/?,"):
        raise ConfigError(f'unexpected character "{after}" in URI (expected ":" or "/")')
    return text[position:end], end + 1


def _until(end: re.Pattern[str], text: str, position: int) -> tuple[str, int]:
    match = end.search(text, position)
    stop = match.start() if match else len(text)
    return text[position:stop], stop


def _parse_query(query: str, known: Collection[str]) -> dict[str, str]:
    values: dict[str, str] = {}
    remains = "@" in query  # what is left of a password that should have been percent-encoded is not shown
    for item in query.removesuffix("&").split("&") if query else ():
        show = not remains and "password" not in values
        name, equals, text = item.partition("=")
        keyword, value = _decode(name), _decode(text)
        shown = f': "{keyword}"' if show or keyword in known else ""
        if not equals:
            raise ConfigError(f'missing key/value separator "=" in URI query parameter{shown}', remedy=_ESCAPE)
        if "=" in text:
            raise ConfigError(f'extra key/value separator "=" in URI query parameter{shown}', remedy=_ESCAPE)
        if keyword == "ssl" and value == "true":  # JDBC's spelling, which libpq takes too
            keyword, value = "sslmode", "require"
        if keyword != _OLD:
            _check_known(keyword, known, show=show, what="URI query parameter")
        _store(values, keyword, value)
    return values


def _decode(text: str) -> str:
    """Percent-decoding as libpq does it: strict, no zero bytes, and spaces only around what is encoded."""
    text = text.strip(" ")
    if " " in text:
        raise ConfigError("unexpected spaces found in URI, use percent-encoded spaces (%20) instead")
    for position in (match.start() for match in re.finditer("%", text)):
        if not re.fullmatch("[0-9A-Fa-f]{2}", text[position + 1 : position + 3]):
            raise ConfigError("invalid percent-encoded token in URI", remedy="A literal % is written %25.")
    try:
        decoded = unquote_to_bytes(text).decode()
    except UnicodeError:
        raise ConfigError("a value in the URI is not UTF-8") from None
    if "\0" in decoded:
        raise ConfigError("forbidden value %00 in percent-encoded value")
    return decoded
