"""The loggers ``babar_tls`` and ``babar_tls.weaknesses``.

The first receives warnings, the failures of callbacks, and for DEBUG the phases of each connect. The second receives
the weaknesses of sessions that are ready, so that a program that shows them itself can disable it. `logging` is
imported only when something is logged, because the import is slow.

A log handler may connect, for example to write to a database. While it runs, this library logs nothing in its context,
because each line would cause others without end.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from .escaping import visible

if TYPE_CHECKING:
    import logging

_NAME = "babar_tls"
WEAKNESSES = "babar_tls.weaknesses"
DEBUG, _WARNING, _ERROR = 10, 30, 40
_LONGEST = 2000  # characters
_REMEMBERED = 256  # warnings

#: The keys of the warnings that were logged, the latest at the end. Servers may influence their text, so the number and
#: the length are limited. A lock is not used, because a signal handler may connect: each change is one operation.
_logged: OrderedDict[str, None] = OrderedDict()
#: True in the log handlers that this library calls, and in the tasks and contexts that they create.
_is_logging: ContextVar[bool] = ContextVar("babar_tls_is_logging", default=False)
_logger: logging.Logger | None = None


def debug_logger() -> logging.Logger | None:
    """Return the logger if it is enabled for DEBUG. A program that has not imported `logging` has not enabled it."""
    global _logger  # noqa: PLW0603 - a cache: every connect calls this function
    if _logger is None:
        if "logging" not in sys.modules:
            return None
        _logger = _get_logger()
    return _logger if _logger.isEnabledFor(DEBUG) else None


def is_logging() -> bool:
    """Return True in a log handler that this library has called, and in a task that it has started."""
    return _is_logging.get()


def log(logger: logging.Logger, level: int, message: str, *args: object, **options: Any) -> None:
    """Log a line as `logging.Logger.log` does, unless a log handler that this library has called is the cause."""
    if _is_logging.get():
        return
    token = _is_logging.set(True)
    try:
        logger.log(level, message, *args, stacklevel=2, **options)
    finally:
        _is_logging.reset(token)


def warn(message: str) -> None:
    """Log a warning, escaped and shortened. The message must not contain a secret."""
    log(_get_logger(), _WARNING, visible(message, limit=_LONGEST))


def warn_once(message: str, logger: str = _NAME, *, key: str | None = None) -> None:
    """Log a warning as `warn` does. The same message is logged again only for DEBUG, in this process.

    Of many different messages, those that were logged longest ago are forgotten, and may be logged as warnings again.

    Args:
        message: The message.
        logger: The name of the logger.
        key: The messages with the same key are the same, by default those with the same text.
    """
    if is_logging():
        return  # it is not logged, so it must not be remembered
    remembered = visible(message if key is None else key, limit=_LONGEST)
    is_repeated = remembered in _logged
    _logged[remembered] = None
    try:
        _logged.move_to_end(remembered)
    except KeyError:
        pass  # other threads have logged many warnings
    if len(_logged) > _REMEMBERED:
        _logged.popitem(last=False)
    log(_get_logger(logger), DEBUG if is_repeated else _WARNING, visible(message, limit=_LONGEST))


def forget_warnings() -> None:
    """Let `warn_once` log every message as a warning again."""
    _logged.clear()


def log_failure(message: str, error: BaseException | None) -> None:
    """Log the failure of a function that the caller has passed.

    Call it where the exception was caught.

    Args:
        message: The message.
        error: The exception, which is logged with the part of its traceback in that function; None if its text may
            contain a secret.
    """
    exc_info = None
    if error is not None:
        traceback = error.__traceback__
        exc_info = (type(error), error, None if traceback is None else traceback.tb_next)
    log(_get_logger(), _ERROR, visible(message, limit=_LONGEST), exc_info=exc_info)


def _get_logger(name: str = _NAME) -> logging.Logger:
    import logging  # noqa: PLC0415 - slow to import, and rarely needed

    return logging.getLogger(name)
