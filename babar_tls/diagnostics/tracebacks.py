"""Remove secrets from tracebacks: clear the local variables of this library's frames when an error leaves it.

Error reports (`traceback.TracebackException(capture_locals=True)`, Sentry, rich) contain the local variables of every
frame of a traceback. Passwords and keys are local variables in many functions of this library, and in functions of the
standard library that it calls. The public functions clear all these frames. Frames of the caller are not cleared,
including those of callables that the caller has passed.
"""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


_F = TypeVar("_F", bound="Callable[..., Any]")
_CO_COROUTINE = 0x80  # `inspect.CO_COROUTINE`; inspect is slow to import

#: Packages whose frames are cleared, in addition to the standard library and to backends, which have this prefix.
_PACKAGES = frozenset(["babar_tls", "OpenSSL", "cryptography", "rtls"])
_BACKEND_PREFIX = "babar_tls_"


def clears_locals(function: _F) -> _F:
    """Decorate a public function or coroutine function, so that its errors contain no local variables."""
    if function.__code__.co_flags & _CO_COROUTINE:

        @functools.wraps(function)
        async def asynchronous(*args: Any, **kwargs: Any) -> Any:
            outer = sys.exception()
            try:
                return await function(*args, **kwargs)
            except BaseException as error:
                del args, kwargs
                clear_frames(error, outer)
                raise

        return cast("_F", asynchronous)

    @functools.wraps(function)
    def synchronous(*args: Any, **kwargs: Any) -> Any:
        outer = sys.exception()
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            del args, kwargs
            clear_frames(error, outer)
            raise

    return cast("_F", synchronous)


def clear_frames(error: BaseException, outer: BaseException | None) -> None:
    """Clear the frames of an error and of its causes, except for `outer`, which was being handled before the call."""
    for current in chain(error, outer):
        traceback = current.__traceback__
        while traceback is not None:
            frame = traceback.tb_frame
            package = str(frame.f_globals.get("__name__")).partition(".")[0]
            is_backend = package.startswith(_BACKEND_PREFIX)
            if is_backend or package in _PACKAGES or package in sys.stdlib_module_names:
                try:
                    frame.clear()
                except RuntimeError:
                    pass  # still running: a decorator, or the loop of a thread
            traceback = traceback.tb_next


def chain(error: BaseException | None, outer: BaseException | None = None) -> Iterator[BaseException]:
    """Yield an exception and the exceptions that it refers to, each once, except for `outer` and those behind it.

    They are its causes, its contexts (which may form a cycle), the earlier failures of an `Error`, and the members of a
    group.
    """
    seen = {id(outer)}
    pending = [error]
    while pending:
        current = pending.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        pending += [current.__cause__, current.__context__, *getattr(current, "earlier", ())]
        if isinstance(current, BaseExceptionGroup):
            pending += current.exceptions
        yield current
