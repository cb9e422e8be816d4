"""The messages of the logger ``babar_tls`` on standard error, while a command runs."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def verbose(enabled: bool) -> Iterator[None]:
    """Print every message of the logger, of any level, with the milliseconds since this context was entered.

    Args:
        enabled: False for a context without effect: Python then prints warnings and errors, without the time.
    """
    if not enabled:
        yield
        return
    import logging  # noqa: PLC0415 - slow to import, and rarely needed

    started = time.time()

    class Formatter(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            level = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
            return f"{max(0.0, record.created - started) * 1000:9.1f} ms  {level}{super().format(record)}"

    logger = logging.getLogger("babar_tls")
    handler = logging.StreamHandler()  # standard error
    handler.setFormatter(Formatter())
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)
