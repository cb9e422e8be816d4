"""A progress bar on standard error, where that is a terminal and rich is installed; else nothing."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


_INTERVAL = 0.1  # seconds between two drawings


@contextmanager
def progress_bar(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Yields the function to be called with every number of things done.

    Drawing happens within that function and nowhere else: no thread disturbs what is being measured.

    Args:
        what: What is being done.
        total: How many things there are, `None` if nobody knows.
    """
    if sys.stderr is None or not sys.stderr.isatty():
        yield _nothing
        return
    try:
        from rich.console import Console  # noqa: PLC0415 - optional
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415
    except ImportError:
        yield _nothing
        return
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


def _nothing(_: int) -> None:
    pass
