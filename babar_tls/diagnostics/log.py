"""The loggers ``babar_tls`` and ``babar_tls.weaknesses``.

The first receives warnings, the failures of callbacks, and for DEBUG the phases of each connect. The second receives
the weaknesses of sessions that are ready, so that a program that shows them itself can disable it. `logging` is
imported only when something is logged, because the import is slow.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from .escaping import visible

if TYPE_CHECKING:
    import logging

_NAME = "babar_tls"
WEAKNESSES = "babar_tls.weaknesses"
_DEBUG, _WARNING, _ERROR = 10, 30, 40
_LONGEST = 2000  # characters
_REMEMBERED = 256  # warnings

#: The warnings that were logged. Servers may influence their text, so the number and the length are limited.
_logged: set[str] = set()
_logger: logging.Logger | None = None


def debug_logger() -> logging.Logger | None:
    """Return the logger if it is enabled for DEBUG. A program that has not imported `logging` has not enabled it."""
    global _logger  # noqa: PLW0603 - a cache: every connect calls this function
    if _logger is None:
        if "logging" not in sys.modules:
            return None
        _logger = _get_logger()
    return _logger if _logger.isEnabledFor(_DEBUG) else None


def warn(message: str) -> None:
    """Log a warning, escaped and shortened. The message must not contain a secret."""
    _get_logger().warning(visible(message, limit=_LONGEST))


def warn_once(message: str, logger: str = _NAME) -> None:
    """Log a warning as `warn` does. The same message is logged again only for DEBUG, in this process.

    After many different messages, all are forgotten, and may be logged as warnings again.
    """
    text = visible(message, limit=_LONGEST)
    is_repeated = text in _logged
    if not is_repeated:
        if len(_logged) >= _REMEMBERED:
            _logged.clear()
        _logged.add(text)
    _get_logger(logger).log(_DEBUG if is_repeated else _WARNING, text)


def forget_warnings() -> None:
    """Let `warn_once` log every message as a warning again."""
    _logged.clear()


def log_failure(message: str, error: BaseException) -> None:
    """Log an exception of a function that the caller has passed, with the part of its traceback in that function.

    Call it where the exception was caught.
    """
    traceback = error.__traceback__
    inner = None if traceback is None else traceback.tb_next
    _get_logger().log(_ERROR, visible(message, limit=_LONGEST), exc_info=(type(error), error, inner))


def _get_logger(name: str = _NAME) -> logging.Logger:
    import logging  # noqa: PLC0415 - slow to import, and rarely needed

    return logging.getLogger(name)
