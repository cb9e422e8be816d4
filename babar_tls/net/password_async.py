"""Call the function in `Config.password` from asyncio.

The function is called in a separate thread, outside the gate, so that a slow function delays only its own connect. If
it returns an awaitable, the connecting task awaits it on the event loop. The deadline and a cancellation do not wait
for a function that blocks: the thread continues until the function returns, and discards the result.
"""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from ..config.callables import discard
from ..errors import Error
from ..protocol.requests import Phase
from . import connect_threads
from .deadline import timeout_error
from .password import accept, call, is_needed, name_servers, unavailable

if TYPE_CHECKING:
    from ..config import Config
    from .blocking import Connector
    from .deadline import Meter


async def fetch_password_async(config: Config, meter: Meter) -> str | bytes | None:
    """Return the password from the function in `config.password`; None if it is not a function, or not needed.

    The thread runs in a copy of the caller's context (`contextvars`), the awaitable in the context itself.

    Raises:
        PasswordUnavailable: The function or the awaitable raised an exception.
        ConfigError: The result is not a password.
        TimeoutError: The deadline has passed.
        IoError: No thread can be started.
    """
    if not is_needed(config):
        return None
    try:
        return accept(await _wait(config, meter), meter)
    except Error as error:
        name_servers(error, config)
        raise


async def _wait(config: Config, meter: Meter) -> object:
    """Return the result of the function, after it was awaited if it can be awaited."""

    def job(_connect: Connector) -> object:
        meter.remaining(Phase.PASSWORD)  # the wait for a place may have lasted too long
        return call(config)

    limit = asyncio.timeout(meter.remaining(Phase.PASSWORD))
    try:
        async with limit:
            result = await connect_threads.run(job, meter, discard, outside=True)
            return await _awaited(result) if isinstance(result, Awaitable) else result
    except (Error, builtins.TimeoutError):
        if limit.expired():  # the function may have raised another exception when it was cancelled
            raise timeout_error(Phase.PASSWORD) from None
        raise


async def _awaited(awaitable: Awaitable[object]) -> object:
    try:
        return await awaitable
    except MemoryError:
        raise
    except Exception as exc:
        raise unavailable(exc) from exc
