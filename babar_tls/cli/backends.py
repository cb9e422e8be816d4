"""``babar-tls backends``: the TLS engines, and what each can do here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._errors import require_rich
from ._text import print_json

if TYPE_CHECKING:
    import argparse

    from rich.text import Text

    from ..backends import BackendStatus
    from ._terminal import Terminal

HELP = "list the TLS engines: which are installed, and what each can do"
DESCRIPTION = "List every TLS engine that is known: which are installed, what each can do, what installs the others."
EPILOG = (
    "Groups are read from each engine's own first message. Choose an engine with --backend NAME, or in a program with "
    "Config(tls_backend=NAME)."
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare this command's arguments."""
    parser.add_argument("--markdown", action="store_true", help="print the table of the installed engines in Markdown")


def run(options: argparse.Namespace) -> int:
    """List the engines."""
    drawn = not (options.json or options.markdown)
    if drawn:
        require_rich()
    from ..backends import backend_status  # noqa: PLC0415 - importing the engines is slow
    from ._backend_facts import document, markdown  # noqa: PLC0415

    statuses = backend_status()
    if options.json:
        print_json({"backends": [document(status) for status in statuses], "default_roots": _default_roots()})
    elif options.markdown:
        print(markdown(statuses), end="")
    else:
        _draw(statuses)
    return 0


def _default_roots() -> dict[str, Any]:
    """What every engine trusts where nothing else is said."""
    from ..backends import TlsParameters  # noqa: PLC0415
    from ..errors import ConfigError  # noqa: PLC0415
    from ..tls.root_files import trusted_roots  # noqa: PLC0415

    try:
        roots = trusted_roots(TlsParameters())
    except ConfigError as error:
        return {"sources": [], "anchors": 0, "problem": error.message, "remedy": error.remedy}
    return {"sources": list(roots.sources), "anchors": roots.anchors} if roots is not None else {}


def _draw(statuses: list[BackendStatus]) -> None:
    from rich.table import Table  # noqa: PLC0415 - optional

    from ._backend_facts import FACTS  # noqa: PLC0415
    from ._terminal import HEADING, terminal  # noqa: PLC0415

    console = terminal()
    table = Table(box=console.outline, header_style=HEADING)
    table.add_column(no_wrap=True, style=HEADING)
    for status in statuses:
        table.add_column(console.verdict(status.capabilities is not None, status.name), overflow="fold")
    for number, fact in enumerate(FACTS):
        cells = []
        for status in statuses:
            if status.capabilities is not None:
                cells.append(_cell(console, fact.answer(status.capabilities, status.offer)))
            else:
                cells.append(console.cell("" if number else "not installed", "dim"))
        table.add_row(fact.label, *cells)
    console.print(table)
    _draw_roots(console)
    for status in statuses:
        if status.problem is not None:
            console.print(console.cell(f"{status.name}: {status.problem.message}", "yellow"))
            if status.problem.remedy:
                console.print(console.cell(f"  {status.problem.remedy}", "bold"))


def _cell(console: Terminal, answer: object) -> Text:
    from ._backend_facts import Good  # noqa: PLC0415

    if isinstance(answer, Good):
        return console.verdict(answer.good, answer.text)
    return console.cell(answer) if isinstance(answer, str) else console.lines(answer)  # type: ignore[arg-type]


def _draw_roots(console: Terminal) -> None:
    roots = _default_roots()
    if roots.get("problem"):
        console.print(console.cell(f"Trusted by default: nothing, for {roots['problem']}", "yellow"))
        return
    count = "" if roots["anchors"] is None else f": {roots['anchors']} certificates"
    console.print(console.cell(f"Trusted by default, by every engine{count}"))
    for source in roots["sources"]:
        console.print(console.cell(f"  {source}"))
