"""The timing of the stages: one row each, with a bar at its start.

Positions are percentages, so that the bars fit every width and the text keeps its size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..diagnosis import Status
from .marks import mark
from .markup import Html, element
from .units import duration, tick_labels, ticks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..diagnosis import Stage

_MAX_TITLE = 60
_SHORTEST = 0.001  # seconds: the length of the axis if all stages are shorter


class _Axis(NamedTuple):
    """The axis, in seconds after the first stage began."""

    length: float
    ticks: list[float]

    def percent(self, position: float) -> str:
        """Return where a time is on the axis."""
        return f"{min(max(position / self.length, 0.0), 1.0) * 100:.3f}%"


def waterfall(stages: Sequence[Stage]) -> Html:
    """Return the rows of the stages below an axis that begins at the first stage."""
    began = min(stage.start for stage in stages)
    length = max(_SHORTEST, max(stage.start + stage.seconds for stage in stages) - began)
    axis = _Axis(length, ticks(length))
    rows = [_row(stage, stage.start - began, axis) for stage in stages]
    return element(
        "div",
        element("div", _labels(axis), class_="waterfall-axis", aria_hidden="true"),
        element("ol", *rows, class_="waterfall"),
    )


def _labels(axis: _Axis) -> Html:
    texts = []
    for position, label in zip(axis.ticks, tick_labels(axis.ticks), strict=True):
        anchor = "start" if position == 0 else "end" if position > 0.9 * axis.length else "middle"
        texts.append(element("text", label, x=axis.percent(position), y="13", text_anchor=anchor))
    return element("svg", *texts, width="100%", height="18")


def _row(stage: Stage, start: float, axis: _Axis) -> Html:
    """Return the row of a stage. The bar of a short stage is two pixels wide, from a second rectangle."""
    is_skipped = stage.status is Status.SKIPPED
    shown = "skipped" if is_skipped else duration(stage.seconds)
    title = shown if is_skipped else f"begins at {duration(start)}, takes {shown}"
    drawn = [element("line", x1=x, x2=x, y1="0", y2="100%", class_="grid") for x in map(axis.percent, axis.ticks)]
    if not is_skipped:
        x, kind = axis.percent(start), f"bar {stage.status.value}"
        widths = (axis.percent(stage.seconds), "2")
        bars = (element("rect", x=x, y="-6", width=width, height="12", class_=kind) for width in widths)
        drawn.append(element("svg", *bars, y="50%"))  # its origin is the middle of the row
    name = stage.title if len(stage.title) <= _MAX_TITLE else stage.title[:_MAX_TITLE] + "…"
    return element(
        "li",
        element("span", mark(stage.status), " ", name, class_="name"),
        element("svg", element("title", title), *drawn, width="100%", height="20", role="img", aria_label=title),
        element("span", shown, class_="time"),
        class_=stage.status.value,
    )
