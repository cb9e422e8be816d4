"""``babar-tls backends``: the TLS backends, and what each of them supports on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..diagnostics.counts import count
from ._output import print_json

if TYPE_CHECKING:
    import argparse

    from ..backends import BackendStatus
    from ._backend_facts import Answer
    from ._layout import Cell
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
    from ._terminal import terminal  # noqa: PLC0415 - as in `run`

    console = terminal()
    columns = {status.name: _column(console, status) for status in statuses}
    names = [console.verdict(status.capabilities is not None, status.name) for status in statuses]
    labels = [fact.label for fact in FACTS]
    table = console.table(zip(labels, *columns.values(), strict=True), ["", *names])
    if console.fits(table):
        console.print(table)
    else:
        for name, status in zip(names, statuses, strict=True):
            console.print(name)
            if status.capabilities is not None:
                console.print(console.facts(zip(labels, columns[status.name], strict=True), frame=False))
            console.write()
    _draw_roots(console)
    for status in statuses:
        if status.problem is not None:
            console.write(f"{status.name}: {status.problem.message}", "yellow")
            if status.problem.remedy:
                console.write(f"  {status.problem.remedy}", "bold")


def _column(console: Terminal, status: BackendStatus) -> list[Cell]:
    """Return the answers of a backend."""
    from ._backend_facts import FACTS  # noqa: PLC0415 - as in `run`

    facts = status.capabilities
    if facts is None:
        return [console.cell("" if number else "not installed", "dim") for number in range(len(FACTS))]
    return [_cell(console, fact.answer(facts, status.offer)) for fact in FACTS]


def _cell(console: Terminal, answer: Answer) -> Cell:
    from ._backend_facts import Verdict  # noqa: PLC0415 - as in `run`

    if isinstance(answer, Verdict):
        return console.verdict(answer.good, answer.text)
    return console.cell(answer) if isinstance(answer, str) else console.lines(answer)


def _draw_roots(console: Terminal) -> None:
    roots = _default_roots()
    if roots.get("problem"):
        console.write(f"No default trust store: {roots['problem']}", "yellow")
        return
    anchors = "" if roots["anchors"] is None else f": {count(roots['anchors'], 'certificate')}"
    console.write(f"Default trust store of every backend{anchors}")
    for source in roots["sources"]:
        console.write(f"  {source}")
