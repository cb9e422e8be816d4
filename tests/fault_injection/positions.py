"""The positions at which faults happen: a sample of them, or all if ``BABAR_TLS_EXHAUSTIVE=1``."""

from __future__ import annotations

import os
import random
import zlib
from typing import TYPE_CHECKING

from .faults import Fault

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .faults import Action, Span

EXHAUSTIVE = os.environ.get("BABAR_TLS_EXHAUSTIVE") == "1"
#: Parts of the long form. Each is a separate test, so that pytest-xdist can distribute them.
PARTS = range(8) if EXHAUSTIVE else range(1)


def plan(action: Action, total: int, boundaries: Iterable[int], *, name: str, part: int, sample: int) -> list[Fault]:
    """Return the faults of one test.

    Args:
        action: The action.
        total: The length of the server's stream.
        boundaries: Important positions, from which the short form takes a sample.
        name: The name of the combination. It selects the sample, so that combinations differ.
        part: The part of the long form.
        sample: The number of positions in the short form.

    Raises:
        AssertionError: There are too few positions.
    """
    if EXHAUSTIVE:
        positions = list(range(part, total, len(PARTS)))
    else:
        positions = _sample(sorted({position for position in boundaries if 0 <= position < total}), name, sample)
    assert positions
    assert len(positions) >= (total // len(PARTS) if EXHAUSTIVE else sample)
    if action != "flip":
        return [Fault(action, position) for position in positions]
    return [Fault(action, position, bit) for position in positions for bit in _bits(position, name)]


def around_boundaries(spans: Iterable[Span], labels: str) -> set[int]:
    """Return the first byte of each piece whose label begins so, and its neighbours."""
    starts = {span.start for span in spans if span.label.startswith(labels)}
    return {start + offset for start in starts for offset in (-1, 0, 1)}


def ends_of_pieces(spans: Iterable[Span]) -> set[int]:
    """Return the first and the last byte of each piece."""
    return {position for span in spans for position in (span.start, span.stop - 1)}


def _sample(positions: list[int], name: str, size: int) -> list[int]:
    """Return `size` positions, evenly spread, beginning with one that depends on the name."""
    if len(positions) <= size:
        return positions
    shift = zlib.crc32(name.encode()) % len(positions)
    rotated = positions[shift:] + positions[:shift]
    return sorted(rotated[index * len(rotated) // size] for index in range(size))


def _bits(position: int, name: str) -> list[int]:
    chosen = random.Random(f"{name} {position}")  # noqa: S311 - a reproducible choice of tests
    return [0, 7, chosen.randrange(1, 7)] if EXHAUSTIVE else [chosen.randrange(8)]
