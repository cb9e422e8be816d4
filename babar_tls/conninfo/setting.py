"""The value of a keyword, the value of a field of `Config`, and the source of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..errors import ConfigError
from .syntax import names_secret

CONNECTION_STRING = "connection string"

#: The source of a field that no keyword sets.
DEFAULT = "default"


@dataclass(frozen=True)
class Setting:
    """The value of a keyword, and its source.

    Attributes:
        keyword: A name of `keywords.KEYWORDS`.
        value: The text as it was written; it may be a secret.
        source: The source, for messages: ``connection string``, ``environment variable PGHOST``,
            ``service file "/home/u/.pg_service.conf", service "billing"``.
    """

    keyword: str
    value: str = field(repr=False)
    source: str = CONNECTION_STRING


@dataclass(frozen=True)
class Field:
    """The value of a field of `Config`, determined by a connection string.

    Attributes:
        value: The value for `Config`; it may be a secret.
        keyword: The keyword that sets it; None if no keyword does.
        source: The source of that keyword's `Setting`; ``default file "/…"`` for a file that no keyword
            names; ``default socket directory``; ``default``.
    """

    value: Any = field(repr=False)
    keyword: str | None = None
    source: str = DEFAULT

    @classmethod
    def by(cls, cause: Setting | Field, value: Any) -> Field:
        """Return a field with this value, and with the keyword and the source of `cause`."""
        return cls(value, cause.keyword, cause.source)


def refuse(setting: Setting, message: str, remedy: str | None = None) -> ConfigError:
    """Return the error for a setting. The remedy names the source if it is not the connection string.

    A value that contains the name of a secret, or a user and a password as in a URI, is not shown.
    """
    if names_secret(setting.value):
        message = f'invalid value for connection option "{setting.keyword}"'
        remedy = "Its value contains another keyword or a URI. Separate keywords by spaces (in a URI: by &)."
    source = None if setting.source == CONNECTION_STRING else f"It comes from {setting.source}."
    return ConfigError(message, remedy=" ".join(filter(None, [remedy, source])) or None)
