"""The logger ``babar_tls``, which receives only warnings about weak security."""

from __future__ import annotations

from .escaping import visible

_LONGEST = 2000  # characters


def warn(message: str) -> None:
    """Log a warning, escaped and shortened. The message must not contain a secret."""
    import logging  # noqa: PLC0415 - slow to import, and rarely needed

    logging.getLogger("babar_tls").warning(visible(message, limit=_LONGEST))
