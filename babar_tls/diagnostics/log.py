"""What goes to the log: the logger ``babar_tls``, warnings about weak security alone."""

from __future__ import annotations

from .escaping import visible

_LONGEST = 2000  # characters


def warn(message: str) -> None:
    """Log a warning, escaped and shortened. Never give it a secret."""
    import logging  # noqa: PLC0415 - not worth its import time to a connection that has nothing to say

    logging.getLogger("babar_tls").warning(visible(message, limit=_LONGEST))
