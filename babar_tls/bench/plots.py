"""Pictures of a document as PNG and SVG, drawn by matplotlib: bars, distributions, and the phases of a connect."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from .client_spec import FLOOR
from .compare import Metric, metrics
from .summaries import percentiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


FORMATS = ("png", "svg")

_OUR_COLOUR, _DRIVER_COLOUR, _FLOOR_COLOUR = "#1f6f8b", "#c9a227", "#8a8a8a"
_PHASES = {
    "resolve": "#bbbbbb",
    "tcp": "#8fb8de",
    "negotiate": "#5c8ac2",
    "tls": "#1f6f8b",
    "auth": "#c9a227",
    "ready": "#7a9e4e",
}
#: Fields whose values are drawn in separate pictures, and their units.
_SEPARATE = {"rtt": "ms", "row_bytes": "bytes", "task": ""}
_ROW = 0.28  # inches for a case
_DPI = 120


def require_matplotlib() -> None:
    """Check that matplotlib is installed.

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        import_module("matplotlib")
    except ImportError as exc:
        raise ImportError("pictures need matplotlib: pip install 'babar-tls[bench]'", name="matplotlib") from exc


def draw(document: dict[str, Any], folder: str | Path) -> list[Path]:
    """Draw a document, or all its inner documents.

    Args:
        document: The document.
        folder: The folder for the pictures; it is created if it does not exist.

    Returns:
        The files.

    Raises:
        ImportError: matplotlib is not installed.
        ConfigError: The pictures cannot be written.
    """
    require_matplotlib()
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        return [path for inner in (document, *document.get("documents", {}).values()) for path in _draw(inner, folder)]
    except OSError as exc:
        raise ConfigError(f"pictures cannot be written to {str(folder)!r}: {exc.strerror}") from exc


def _draw(document: dict[str, Any], folder: str | Path) -> Iterator[Path]:
    if "documents" in document:
        return  # each inner document is drawn separately
    through = document["parameters"].get("through")
    for suffix, part in _parts(document):
        name = f"{document['workload']}-{{}}{suffix}{f'-through-{through}' if through else ''}"
        by_kind: dict[str, list[Metric]] = {}
        for metric in metrics(part):
            by_kind.setdefault(metric.kind.key, []).append(metric)
        for key, found in by_kind.items():
            yield from _picture(folder, name.format(key), len(found), partial(_bars, found=found))
        sampled = [case for case in part["cases"] if "samples" in (case.get("wall") or {})]
        phased = [case for case in part["cases"] if case.get("timings")]
        for key, paint, cases in (("latency", _distributions, sampled), ("phases", _waterfall, phased)):
            if cases:
                yield from _picture(folder, name.format(key), len(cases), partial(paint, cases=cases))


def _parts(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the cases of each picture, of the same distance, size of rows and task, with a suffix for its name."""
    parts: dict[str, list[dict[str, Any]]] = {"": []}
    for case in document.get("cases", []):
        words = [f"{case[key]}{unit}" for key, unit in _SEPARATE.items() if case.get(key) is not None]
        parts.setdefault("".join(f"-{word}" for word in words), []).append(case)
    for suffix, cases in parts.items():
        yield suffix, {**document, "cases": cases} if suffix == "" else {"cases": cases}


def _picture(folder: str | Path, name: str, rows: int, paint: Callable[[Any], None]) -> Iterator[Path]:
    # pyplot would open a display, and keep every figure in memory.
    figure = import_module("matplotlib.figure").Figure(figsize=(11, 1.2 + _ROW * rows), layout="constrained", dpi=_DPI)
    axes = figure.subplots()
    paint(axes)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(y=0.5 / max(rows, 1))
    axes.invert_yaxis()
    for format_name in FORMATS:
        path = Path(folder, f"{name}.{format_name}")
        figure.savefig(path, format=format_name)
        yield path


def _colour(name: str) -> str:
    if name.startswith(FLOOR):
        return _FLOOR_COLOUR
    return _OUR_COLOUR if name.startswith(("babar-tls", "stdlib", "openssl", "rustls")) else _DRIVER_COLOUR


def _bars(axes: Any, found: list[Metric]) -> None:
    """Draw a bar for each case, with a whisker from the minimum to the 90th percentile."""
    kind = found[0].kind
    values = [metric.value for metric in found]
    spread = [[metric.value - metric.low for metric in found], [metric.high - metric.value for metric in found]]
    names = [metric.case for metric in found]
    axes.barh(names, values, xerr=spread, color=[_colour(name) for name in names], ecolor="#444444", capsize=2)
    axes.set_xlim(left=min(0.0, *values))
    label = ", ".join(filter(None, [kind.label, kind.unit]))
    axes.set_xlabel(f"{label} ({'less' if kind.less_is_better else 'more'} is better)")


def _distributions(axes: Any, cases: list[dict[str, Any]]) -> None:
    """Draw each round as a stroke, the middle half as a box, and the 10th to the 90th percentile as a line."""
    for row, case in enumerate(cases):
        values = [value * 1e3 for value in case["wall"]["samples"]]
        percents = percentiles(values)
        low, first, middle, third, high = (percents[percent - 1] for percent in (10, 25, 50, 75, 90))
        colour = _colour(case["name"])
        axes.hlines(row, low, high, color=colour)
        axes.barh(row, third - first, left=first, height=0.6, color=colour, alpha=0.5)
        axes.plot([middle], [row], "o", color="black", markersize=3)
        axes.plot(values, [row] * len(values), "|", color=colour, alpha=0.4)
    axes.set_yticks(range(len(cases)), [case["name"] for case in cases])
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("{x:g}")
    axes.set_xlabel("wall clock, ms (box: middle half; line: 10th to 90th percentile)")


def _waterfall(axes: Any, cases: list[dict[str, Any]]) -> None:
    """Draw the medians of the phases of a connect, one after the other."""
    names = [case["name"] for case in cases]
    starts = [0.0] * len(cases)
    for phase, colour in _PHASES.items():
        lengths = [case["timings"].get(phase, 0.0) * 1e3 for case in cases]
        axes.barh(names, lengths, left=starts, color=colour, label=phase)
        starts = [start + length for start, length in zip(starts, lengths, strict=True)]
    axes.legend(ncols=len(_PHASES) // 2, loc="lower right", bbox_to_anchor=(1.0, 1.0), frameon=False)
    axes.set_xlabel("phases of a connect, ms, medians")
