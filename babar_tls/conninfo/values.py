"""Single values of a connection string: a word, a number, a key, judged as libpq judges them and in its words."""

from __future__ import annotations

import base64
import binascii
import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from ..config.enums import AUTH_METHODS, TlsVersion
from ..config.validation import has_surrogates
from ..errors import ConfigError
from .syntax import names_secret

if TYPE_CHECKING:
    from collections.abc import Collection
    from enum import Enum


_E = TypeVar("_E", bound="Enum")

CONNECTION_STRING = "connection string"

_INTEGER = re.compile(r"[ \t\n\v\f\r]*([+-]?[0-9]+)[ \t\n\v\f\r]*")
_BOOLEANS = {"1": True, "true": True, "on": True, "yes": True, "0": False, "false": False, "off": False, "no": False}


@dataclass(frozen=True)
class Setting:
    """A keyword's value, and who said so.

    Attributes:
        keyword: A name of `keywords.KEYWORDS`.
        value: As it was written; it may be a secret.
        source: In words for people: ``connection string``, ``environment variable PGHOST``,
            ``service file "/home/u/.pg_service.conf", service "billing"``.
    """

    keyword: str
    value: str = field(repr=False)
    source: str = CONNECTION_STRING


def refuse(setting: Setting, message: str, remedy: str | None = None) -> ConfigError:
    """An error about a setting, which says where it comes from if that is not under the reader's eyes.

    A value that contains the name of a secret, or a user and a password as in a URI, is not shown.
    """
    if names_secret(setting.value):
        message = f'invalid value for connection option "{setting.keyword}"'
        remedy = "Its value contains another keyword or a URI. Separate keywords by spaces (in a URI: by &)."
    place = None if setting.source == CONNECTION_STRING else f"It comes from {setting.source}."
    return ConfigError(message, remedy=" ".join(filter(None, (remedy, place))) or None)


def integer(setting: Setting) -> int:
    """A whole number of 32 bits, as C's strtol reads it.

    Raises:
        ConfigError: It is none.
    """
    return as_integer(setting, setting.value)


def as_integer(setting: Setting, text: str, remedy: str | None = None) -> int:
    """One number of several that a setting holds.

    Raises:
        ConfigError: It is none.
    """
    match = _INTEGER.fullmatch(text)
    value = int(match[1]) if match and len(match[1]) < 100 else 2**31  # Python refuses to read thousands of digits
    if not -(2**31) <= value < 2**31:
        raise refuse(
            setting,
            f'invalid integer value "{text}" for connection option "{setting.keyword}"',
            remedy or f"Write a whole number of 32 bits: {setting.keyword}=10.",
        )
    return value


def word(setting: Setting, known: Collection[str]) -> str:
    """One of the words that libpq knows for this keyword, in its case.

    Raises:
        ConfigError: It is none of them.
    """
    if setting.value not in known:
        raise refuse(
            setting,
            f'invalid {setting.keyword} value: "{setting.value}"',
            f"Known values of {setting.keyword}: {', '.join(known)}.",
        )
    return setting.value


def member(setting: Setting, enum: type[_E]) -> _E:
    """A member of the enum, by its value.

    Raises:
        ConfigError: There is none of that value.
    """
    return enum(word(setting, [str(each.value) for each in enum]))


def boolean(setting: Setting) -> bool:
    """Yes or no, in the words of PostgreSQL's own settings.

    Raises:
        ConfigError: It is neither.
    """
    if setting.value.lower() not in _BOOLEANS:
        raise refuse(
            setting,
            f'invalid {setting.keyword} value: "{setting.value}"',
            f"Write {setting.keyword}=1 or {setting.keyword}=0.",
        )
    return _BOOLEANS[setting.value.lower()]


def number(setting: Setting) -> float:
    """A number as Python writes it.

    Raises:
        ConfigError: It is none.
    """
    text = setting.value
    try:
        value = int(text) if text.isascii() and text.isdigit() else float(text)
    except ValueError:
        value = math.nan
    if math.isnan(value):
        raise refuse(setting, f'invalid {setting.keyword} value: "{text}"', f"Write a number: {setting.keyword}=10.")
    return value


def scram_key(setting: Setting) -> bytes:
    """A key of SCRAM-SHA-256 in base64.

    Raises:
        ConfigError: It is no base64, or no 32 bytes.
    """
    name = "SCRAM client key" if setting.keyword == "scram_client_key" else "SCRAM server key"
    try:
        key = base64.b64decode(setting.value.encode(), validate=True)
    except (ValueError, binascii.Error):
        raise refuse(setting, f"invalid {name}", f"{setting.keyword} is 32 bytes in base64.") from None
    if len(key) != 32:
        raise refuse(setting, f"invalid {name} length: {len(key)}", f"{setting.keyword} is 32 bytes in base64.")
    return key


def secret_text(setting: Setting) -> str | bytes:
    """Return a password; bytes that are not UTF-8, which Python has as surrogates (PEP 383), as they are.

    Raises:
        ConfigError: There is a surrogate that stands for no byte.
    """
    if not has_surrogates(setting.value):
        return setting.value
    try:
        return setting.value.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        raise refuse(
            setting, f"{setting.keyword} contains a lone surrogate", f"Write {setting.keyword} in valid Unicode."
        ) from None


def tls_version(setting: Setting) -> TlsVersion | None:
    """A version of TLS in whatever case; `None` for none in particular. The oldest to accept is never below 1.2.

    Raises:
        ConfigError: There is no such version, or the newest to offer is one that this library does not speak.
    """
    versions = {version.value.lower(): version for version in TlsVersion}
    text = setting.value.lower()
    if text in ("tlsv1", "tlsv1.1"):
        if setting.keyword == "ssl_max_protocol_version":
            raise refuse(
                setting,
                f'invalid SSL protocol version range: "{setting.value}" as the newest version',
                "Use ssl_max_protocol_version=TLSv1.2 or TLSv1.3.",
            )
        return TlsVersion.TLSV1_2
    if text and text not in versions:
        raise refuse(
            setting,
            f'invalid "{setting.keyword}" value: "{setting.value}"',
            f"Known values of {setting.keyword}: {', '.join(version.value for version in TlsVersion)}.",
        )
    return versions.get(text)


def require_auth(setting: Setting) -> str | None:
    """The methods as they were written, judged by libpq's grammar.

    Raises:
        ConfigError: An unknown or repeated method, or negated and plain methods mixed.
    """
    if not setting.value:
        return None
    words = setting.value.split(",")
    negated = words[0].startswith("!")
    for position, method in enumerate(words):
        if method.startswith("!") != negated:
            message = (
                f'require_auth method "{method}" cannot be mixed with negative methods'
                if negated
                else f'negative require_auth method "{method}" cannot be mixed with non-negative methods'
            )
            raise refuse(setting, message, "Write require_auth with all of its methods negated by !, or with none.")
        if method.removeprefix("!") not in AUTH_METHODS:
            raise refuse(
                setting,
                f'invalid require_auth value: "{method.removeprefix("!")}"',
                f"Known methods of require_auth: {', '.join(AUTH_METHODS)}.",
            )
        if method in words[:position]:
            raise refuse(
                setting,
                f'require_auth method "{method}" is specified more than once',
                "Write each method of require_auth once.",
            )
    return setting.value


def check_protocol_versions(oldest: Setting | None, newest: Setting | None) -> None:
    """PostgreSQL's protocol: 3.0, the one that this library speaks, must be allowed.

    Raises:
        ConfigError: It is not, or one of the two is no version.
    """
    versions = {"3.0": 0, "3.2": 2, "latest": 2}
    low = versions[word(oldest, versions)] if oldest else 0
    high = versions[word(newest, versions)] if newest else 2
    if low > high:
        raise ConfigError(
            '"min_protocol_version" is greater than "max_protocol_version"',
            remedy="Leave out min_protocol_version: this library speaks version 3.0.",
        )
    if oldest and low:
        raise refuse(
            oldest,
            f'connection option "min_protocol_version={oldest.value}" is not supported',
            "Leave it out, or use min_protocol_version=3.0, which every server supports.",
        )
