"""The tasks that drivers are measured with, and `Subject`, the interface through which they are measured."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The package of the integrations, which are imported when they are used.
INTEGRATIONS = "babar_tls.integrations"
#: The number of queries on a new session that are not timed.
WARM_UP = 20

_LINE = 8000  # bytes of a row of COPY, without the line feed
_CHUNK = 65536  # bytes that are passed to the driver at once


class Sizes(NamedTuple):
    """The sizes of the tasks.

    Attributes:
        queries: The number of queries of one call of `select`.
        bulk: The bytes of a value and of a COPY.
        rows: The number of rows of a query.
        pool: The number of connections of a pool.
    """

    queries: int
    bulk: int
    rows: int
    pool: int


class Task(NamedTuple):
    """A task.

    Attributes:
        name: The name of the method of `Subject`.
        title: A short title for people.
        repeats: How often it runs in a round; a short task must run more often to be measured as well as a long one.
        opens: True if the method returns something to close, False if it is called with the result of `open`.
    """

    name: str
    title: str
    repeats: int = 1
    opens: bool = False


TASKS = (
    Task("connect", "connect", repeats=5, opens=True),
    Task("select", "select 1", repeats=5),
    Task("value", "value"),
    Task("copy_out", "COPY out"),
    Task("copy_in", "COPY in"),
    Task("rows", "rows"),
    Task("pool", "pool", opens=True),
)


class Subject(ABC):
    """A driver over one TLS implementation.

    `SUPPORTED` names the tasks, each of which is a method. All methods return a result or an awaitable.
    """

    SUPPORTED: ClassVar[tuple[str, ...]]

    @abstractmethod
    def open(self) -> Any:
        """Return a session for the tasks."""

    def close(self, session: Any) -> Any:
        """Close what `open` or a task returned."""
        return session.close()


def lines_sql(sizes: Sizes) -> str:
    """Return the query for COPY out."""
    return f"select repeat('x', {_LINE}) from generate_series(1, {_lines(sizes)})"  # noqa: S608 - integers only


def rows_sql(sizes: Sizes) -> str:
    """Return the query with many rows."""
    return f"select i, i::text from generate_series(1, {sizes.rows}) i"  # noqa: S608 - an integer only


def _lines(sizes: Sizes) -> int:
    return max(1, sizes.bulk // (_LINE + 1))


def copied(sizes: Sizes) -> int:
    """Return the number of bytes of a COPY."""
    return _lines(sizes) * (_LINE + 1)


def chunks(sizes: Sizes) -> Iterator[bytes]:
    """Yield the rows for COPY in, in chunks."""
    line = b"x" * _LINE + b"\n"
    each = max(1, _CHUNK // len(line))
    chunk = line * each
    whole, rest = divmod(_lines(sizes), each)
    for _ in range(whole):
        yield chunk
    if rest:
        yield line * rest
