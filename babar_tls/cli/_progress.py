"""A progress bar on standard error, if that is a terminal and rich is installed."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


_INTERVAL = 0.1  # seconds between two updates


@contextmanager
def progress_bar(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Yield a function that advances the bar by a count.

    Only that function draws: a thread could disturb a measurement.

    Args:
        what: The text next to the bar.
        total: The count at the end, `None` if it is unknown.
    """
    if sys.stderr is None or not sys.stderr.isatty() or find_spec("rich") is None:
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415 - optional
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415 - as above

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=sys.stderr), transient=True, auto_refresh=False) as progress:
        task = progress.add_task(what, total=total)
        drawn = time.monotonic()

        def advance(count: int) -> None:
            nonlocal drawn
            progress.advance(task, count)
            if time.monotonic() - drawn >= _INTERVAL:
                progress.refresh()
                drawn = time.monotonic()

        yield advance
