"""Parsers of single values of a connection string (words, numbers, keys), with the rules and messages of libpq."""

from __future__ import annotations

import base64
import math
import re
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from ..config.enums import TlsVersion, parse_require_auth
from ..config.validation import has_surrogates
from ..errors import ConfigError
from .setting import refuse

if TYPE_CHECKING:
    from collections.abc import Collection
    from enum import Enum

    from .setting import Setting

_E = TypeVar("_E", bound="Enum")

_INTEGER = re.compile(r"[ \t\n\v\f\r]*([+-]?[0-9]+)[ \t\n\v\f\r]*")
_DECIMAL = re.compile(r"[0-9]{1,1000}\.[0-9]{1,1000}")
_EXACT = 2**53  # from here on a float may stand for another whole number
_BOOLEANS = {"1": True, "true": True, "on": True, "yes": True, "0": False, "false": False, "off": False, "no": False}


def integer(setting: Setting, text: str | None = None, remedy: str | None = None) -> int:
    """Parse a whole number of 32 bits as C's strtol does.

    Args:
        setting: The setting.
        text: The part of its value that is the number, by default the whole value.
        remedy: The remedy of the error.

    Raises:
        ConfigError: It is not a whole number, or it is too large.
    """
    text = setting.value if text is None else text
    match = _INTEGER.fullmatch(text)
    value = int(match[1]) if match and len(match[1]) < 100 else 2**31  # int() refuses thousands of digits
    if not -(2**31) <= value < 2**31:
        raise refuse(
            setting,
            f'invalid integer value "{text}" for connection option "{setting.keyword}"',
            remedy or f"Write a whole number of 32 bits: {setting.keyword}=10.",
        )
    return value


def seconds(setting: Setting) -> float:
    """Parse a whole number of 32 bits or, beyond libpq's grammar, a number with decimals.

    Raises:
        ConfigError: It is not such a number, or it is too large.
    """
    if not _DECIMAL.fullmatch(setting.value):
        return integer(setting)
    value = float(setting.value)
    return int(setting.value.partition(".")[0]) if value >= _EXACT else value


def positive(setting: Setting) -> int | None:
    """Parse a whole number; None for zero and negative numbers, which select the default of the system.

    Raises:
        ConfigError: It is not a whole number, or it is too large.
    """
    value = integer(setting)
    return value if value > 0 else None


def word(setting: Setting, known: Collection[str]) -> str:
    """Return the value if it is one of the known words, in the same case.

    Raises:
        ConfigError: It is not a known word.
    """
    if setting.value not in known:
        raise refuse(
            setting,
            f'invalid {setting.keyword} value: "{setting.value}"',
            f"Known values of {setting.keyword}: {', '.join(known)}.",
        )
    return setting.value


def member(setting: Setting, enum: type[_E]) -> _E:
    """Return the member of an enum that has this value.

    Raises:
        ConfigError: No member has this value.
    """
    return enum(word(setting, [each.value for each in enum]))


def boolean(setting: Setting) -> bool:
    """Parse a boolean in one of the spellings that PostgreSQL's settings accept.

    Raises:
        ConfigError: It is not a boolean.
    """
    if setting.value.lower() not in _BOOLEANS:
        raise refuse(
            setting,
            f'invalid {setting.keyword} value: "{setting.value}"',
            f"Write {setting.keyword}=1 or {setting.keyword}=0.",
        )
    return _BOOLEANS[setting.value.lower()]


def number(setting: Setting) -> float:
    """Parse a number in Python's notation.

    Raises:
        ConfigError: It is not a number.
    """
    text = setting.value
    try:
        value = int(text) if text.isascii() and text.isdigit() else float(text)
    except ValueError:
        value = math.nan
    if math.isnan(value):
        raise refuse(setting, f'invalid {setting.keyword} value: "{text}"', f"Write a number: {setting.keyword}=10.")
    return value


def names(setting: Setting) -> tuple[str, ...]:
    """Split a list of names at commas."""
    return tuple(name for name in setting.value.split(",") if name)


def scram_key(setting: Setting) -> bytes:
    """Parse a key of SCRAM-SHA-256 in base64.

    Raises:
        ConfigError: It is not base64 of 32 bytes.
    """
    name = "SCRAM client key" if setting.keyword == "scram_client_key" else "SCRAM server key"
    key = None
    with suppress(ValueError):  # a UnicodeError contains the key, so it must not be the context of the error
        key = base64.b64decode(setting.value.encode(), validate=True)
    if key is None:
        raise refuse(setting, f"invalid {name}", f"{setting.keyword} is 32 bytes in base64.")
    if len(key) != 32:
        raise refuse(setting, f"invalid {name} length: {len(key)}", f"{setting.keyword} is 32 bytes in base64.")
    return key


def secret_text(setting: Setting) -> str | bytes | None:
    """Return a secret, None if it is empty; as bytes if it is not UTF-8 (surrogates represent such bytes, PEP 383).

    Raises:
        ConfigError: It contains a surrogate that does not represent a byte.
    """
    if not has_surrogates(setting.value):
        return setting.value or None
    with suppress(UnicodeEncodeError):  # it contains the secret, so it must not be the context of the error
        return setting.value.encode(errors="surrogateescape")
    raise refuse(setting, f"{setting.keyword} contains a lone surrogate", f"Write {setting.keyword} in valid Unicode.")


def tls_version(setting: Setting) -> TlsVersion | None:
    """Parse a TLS version in any case; None if it is empty. As the oldest version, TLSv1 and TLSv1.1 are read as 1.2.

    Raises:
        ConfigError: The version is unknown, or the newest version is one that this library does not support.
    """
    versions = {"": None, **{version.value.lower(): version for version in TlsVersion}}
    text = setting.value.lower()
    if text in ("tlsv1", "tlsv1.1"):
        if setting.keyword == "ssl_max_protocol_version":
            raise refuse(
                setting,
                f'invalid SSL protocol version range: "{setting.value}" as the newest version',
                "Use ssl_max_protocol_version=TLSv1.2 or TLSv1.3.",
            )
        return TlsVersion.TLSV1_2
    if text not in versions:
        raise refuse(
            setting,
            f'invalid "{setting.keyword}" value: "{setting.value}"',
            f"Known values of {setting.keyword}: {', '.join(version.value for version in TlsVersion)}.",
        )
    return versions[text]


def require_auth(setting: Setting) -> str | None:
    """Return the methods as they were written; None if the value is empty.

    Raises:
        ConfigError: See `parse_require_auth`.
    """
    try:
        parse_require_auth(setting.value)
    except ConfigError as error:
        raise refuse(setting, error.message, error.remedy) from None
    return setting.value or None
