"""The URL of another library in libpq's terms, and the parts of such URLs that several libraries share."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote as percent_encode
from urllib.parse import unquote_plus

from ..errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True)
class ForeignUrl:
    """A URL of another library.

    Attributes:
        conninfo: The same connection as a string of libpq. It may contain secrets.
        notes: What was translated, and what the other library does differently. They contain no value of the URL,
            except for TLS modes.
        replaced: Parameters of the URL to remove, each with the added parameter that requires the removal.
        variables: Pattern of the names of the environment variables that the other library reads.
        is_own: This library connects, through a dialect of the other one.
    """

    conninfo: str = field(repr=False)
    notes: tuple[str, ...]
    replaced: Mapping[str, str] = field(default_factory=dict, repr=False)
    variables: str = ".*"
    is_own: bool = False

    def convert(self, parameters: Mapping[str, str]) -> dict[str, str]:
        """Return keywords of libpq that are added as parameters of the other library."""
        return dict(parameters)

    def advise(self, parameters: Mapping[str, str]) -> tuple[str, ...]:
        """Return notes about parameters that are added."""
        return ()

    def adapt_remedy(self, remedy: str | None) -> str | None:
        """Return a remedy of this library for users of the other one."""
        return remedy

    def environ(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return the environment without the ``PG*`` variables that the other library does not read."""
        return {name: value for name, value in environ.items() if re.fullmatch(f"(?!PG).*|{self.variables}", name)}

    def removed(self, parameters: Mapping[str, str]) -> tuple[str, ...]:
        """Return the parameters of the URL to remove if these are added."""
        added = self.convert(parameters)
        return tuple(name for name, cause in self.replaced.items() if cause in added)

    def write(self, parameters: Mapping[str, str]) -> str:
        """Return keywords of libpq as query parameters of the other library."""
        return "&".join(f"{name}={percent_encode(text, safe='')}" for name, text in self.convert(parameters).items())


def not_utf_8() -> ConfigError:
    """Return the error for a URL with other bytes."""
    return ConfigError("a value in the URL is not UTF-8", remedy="Percent-encode the bytes of UTF-8.")


def decode(text: str) -> str:
    """Decode percent-encoded UTF-8, and ``+`` as a space: Java and SQLAlchemy decode their queries like this.

    Raises:
        ConfigError: It is not UTF-8, or contains a NUL.
    """
    decoded = None
    with suppress(UnicodeError):  # it contains the value, so it must not be the context of the error
        decoded = unquote_plus(text, errors="strict")
    if decoded is None:
        raise not_utf_8()
    if "\0" in decoded:
        raise ConfigError("forbidden value %00 in percent-encoded value", remedy="Remove %00 from the URL.")
    return decoded


def split_query(text: str) -> Iterator[tuple[str, str]]:
    """Yield the names and the decoded values of a query.

    Raises:
        ConfigError: A value cannot be decoded.
    """
    for item in text.split("&"):
        name, _, value = item.partition("=")
        if name:
            yield name, decode(value)
