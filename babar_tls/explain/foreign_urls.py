"""Translation of URLs of JDBC and SQLAlchemy to libpq's parameters.

Only explanations use it. `Config.from_conninfo` refuses these URLs, because their drivers have other parameters and
defaults.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..config.validation import has_surrogates
from ..diagnostics.tracebacks import clears_locals
from . import jdbc, sqlalchemy_urls
from .translation import not_utf_8

if TYPE_CHECKING:
    from .translation import ForeignUrl


@clears_locals
def translate(text: str) -> ForeignUrl | None:
    """Return a URL of JDBC or SQLAlchemy in libpq's terms; None if it is another string.

    Raises:
        ConfigError: The URL is malformed, or SQLAlchemy would refuse it. The message contains no value of it.
    """
    match = sqlalchemy_urls.PREFIX.match(text)
    is_jdbc = text.startswith(jdbc.PREFIX)
    if not is_jdbc and (match is None or match[1] not in sqlalchemy_urls.DRIVERS):
        return None
    if has_surrogates(text):  # Python decodes other bytes of the command line to surrogates (PEP 383)
        raise not_utf_8()
    if match is None:
        return jdbc.translate(text.removeprefix(jdbc.PREFIX))
    return sqlalchemy_urls.translate(match[1], text[match.end() :])
