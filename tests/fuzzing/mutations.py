"""Strategies for damaged inputs: valid inputs with changed bytes or pieces."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Sequence

_Text = TypeVar("_Text", bytes, str)

#: Numbers at which length fields change their meaning.
_BOUNDARIES = (0, 1, 3, 4, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0xFFFF, 0xFFFFFF, 0x3FFFFFFF, 0x7FFFFFFF, 0xFFFFFFFF)


@st.composite
def mutated(draw: st.DrawFn, seeds: Sequence[bytes], *, max_changes: int = 4) -> bytes:
    """Return one of the seeds after at least one and at most `max_changes` changes."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, max_changes))):
        at = draw(st.integers(0, len(data)))
        change = draw(st.sampled_from(("bit", "byte", "number", "insert", "remove", "repeat", "cut", "splice")))
        if change == "bit" and at < len(data):
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif change == "byte" and at < len(data):
            data[at] = draw(st.integers(0, 255))
        elif change == "number":
            width = draw(st.sampled_from((1, 2, 3, 4)))
            data[at : at + width] = (draw(st.sampled_from(_BOUNDARIES)) % 256**width).to_bytes(width, "big")
        elif change == "remove":
            del data[at : at + draw(st.integers(1, 8))]
        elif change == "repeat":
            data[at:at] = data[at : at + draw(st.integers(1, 40))]
        elif change == "cut":
            del data[at:]
        elif change == "splice":
            other = draw(st.sampled_from(seeds))
            start = draw(st.integers(0, len(other)))
            data[at:at] = other[start : start + draw(st.integers(1, 40))]
        else:
            data[at:at] = draw(st.binary(min_size=1, max_size=6))
    return bytes(data)


@st.composite
def edited(draw: st.DrawFn, text: _Text, pieces: st.SearchStrategy[_Text], *, max_changes: int = 3) -> _Text:
    """Return `text` after up to `max_changes` replacements of a few characters by a piece, which may be empty."""
    for _ in range(draw(st.integers(0, max_changes))):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(pieces) + text[at + draw(st.integers(0, 2)) :]
    return text


@st.composite
def fragments(draw: st.DrawFn, data: bytes, *, max_changes: int = 12) -> list[bytes]:
    """Cut `data` into pieces, none of them empty: into single bytes, or at a few places."""
    if draw(st.integers(0, 9)) == 0 and len(data) <= 400:
        return [data[at : at + 1] for at in range(len(data))]
    cuts = sorted(set(draw(st.lists(st.integers(1, max(1, len(data) - 1)), max_size=max_changes))))
    edges = [0, *(cut for cut in cuts if cut < len(data)), len(data)]
    return [data[a:b] for a, b in pairwise(edges) if a < b]
