"""``babar-tls backends``: the TLS backends, and what each of them supports on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._errors import require_rich
from ._output import print_json

if TYPE_CHECKING:
    import argparse

    from rich.text import Text

    from ..backends import BackendStatus
    from ._backend_facts import Answer
    from ._terminal import Terminal

HELP = "list the TLS backends: which are installed, and what each supports"
DESCRIPTION = """\
List the TLS backends (the libraries that can do TLS for this program): which are installed, what each of them supports
on this machine, and how to install the others."""
EPILOG = """\
The key-exchange groups are read from the ClientHello that each backend sends. To choose a backend, use --backend NAME,
or tls_backend=NAME in a connection string or in Config."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command to the parser."""
    parser.add_argument("--markdown", action="store_true", help="print the installed backends as a Markdown table")


def run(options: argparse.Namespace) -> int:
    """List the backends."""
    if not (options.json or options.markdown):
        require_rich()
    from ..backends import backend_status  # noqa: PLC0415 - importing the backends is slow
    from ._backend_facts import document, markdown  # noqa: PLC0415 - not needed for --help

    statuses = backend_status()
    if options.json:
        print_json({"backends": [document(status) for status in statuses], "default_roots": _default_roots()})
    elif options.markdown:
        print(markdown(statuses), end="")
    else:
        _draw(statuses)
    return 0


def _default_roots() -> dict[str, Any]:
    """Return the trust store that every backend uses by default."""
    from ..backends import TlsParameters  # noqa: PLC0415 - as in `run`
    from ..errors import ConfigError  # noqa: PLC0415 - as in `run`
    from ..tls.root_files import trusted_roots  # noqa: PLC0415 - as in `run`

    try:
        roots = trusted_roots(TlsParameters())
    except ConfigError as error:
        return {"sources": [], "anchors": 0, "problem": error.message, "remedy": error.remedy}
    return {"sources": list(roots.sources), "anchors": roots.anchors} if roots is not None else {}


def _draw(statuses: list[BackendStatus]) -> None:
    from ._backend_facts import FACTS  # noqa: PLC0415 - as in `run`
    from ._terminal import HEADING, terminal  # noqa: PLC0415 - optional

    console = terminal()
    table = console.table()
    table.add_column(no_wrap=True, style=HEADING)
    for status in statuses:
        table.add_column(console.verdict(status.capabilities is not None, status.name), overflow="fold")
    for number, fact in enumerate(FACTS):
        missing = console.cell("" if number else "not installed", "dim")
        cells = [
            missing if status.capabilities is None else _cell(console, fact.answer(status.capabilities, status.offer))
            for status in statuses
        ]
        table.add_row(fact.label, *cells)
    console.print(table)
    _draw_roots(console)
    for status in statuses:
        if status.problem is not None:
            console.write(f"{status.name}: {status.problem.message}", "yellow")
            if status.problem.remedy:
                console.write(f"  {status.problem.remedy}", "bold")


def _cell(console: Terminal, answer: Answer) -> Text:
    from ._backend_facts import Verdict  # noqa: PLC0415 - as in `run`

    if isinstance(answer, Verdict):
        return console.verdict(answer.good, answer.text)
    return console.cell(answer) if isinstance(answer, str) else console.lines(answer)


def _draw_roots(console: Terminal) -> None:
    roots = _default_roots()
    if roots.get("problem"):
        console.write(f"No default trust store: {roots['problem']}", "yellow")
        return
    count = "" if roots["anchors"] is None else f": {roots['anchors']} certificates"
    console.write(f"Default trust store of every backend{count}")
    for source in roots["sources"]:
        console.write(f"  {source}")
