"""``babar-tls backends``: the TLS engines, and what each can do here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._errors import require_rich
from ._text import print_json

if TYPE_CHECKING:
    import argparse

    from ..backends import BackendStatus
    from ._terminal import Terminal

HELP = "list the TLS engines: which are installed, and what each can do"
DESCRIPTION = "List every TLS engine that is known: which are installed, what each can do, what installs the others."
EPILOG = "Choose one with --backend NAME, or in a program with Config(tls_backend=NAME)."


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare this command's arguments: it has none of its own."""


def run(options: argparse.Namespace) -> int:
    """List the engines."""
    if not options.json:
        require_rich()
    from ..backends import backend_status  # noqa: PLC0415 - importing the engines is slow

    statuses = backend_status()
    if options.json:
        print_json({"backends": [_document(status) for status in statuses]})
    else:
        _draw(statuses)
    return 0


def _document(status: BackendStatus) -> dict[str, Any]:
    document: dict[str, Any] = {"name": status.name, "available": status.capabilities is not None}
    if status.capabilities is not None:
        document.update(
            version=status.capabilities.version,
            tls_versions=[version.value for version in status.capabilities.tls_versions],
            channel_bindings=list(status.capabilities.channel_bindings),
            reports_group=status.capabilities.reports_group,
            reports_chain=status.capabilities.reports_chain,
            common_names=status.capabilities.common_names,
            crls=status.capabilities.crls,
            key_log=status.capabilities.key_log,
            client_keys=list(status.capabilities.client_keys),
            reports_certificate_request=status.capabilities.reports_certificate_request,
            os_roots=status.capabilities.os_roots,
        )
    if status.problem is not None:
        document.update(problem=status.problem.message, remedy=status.problem.remedy)
    return document


def _draw(statuses: list[BackendStatus]) -> None:
    from rich.table import Table  # noqa: PLC0415 - optional

    from ._terminal import HEADING, terminal  # noqa: PLC0415

    console = terminal()
    table = Table(box=console.outline, header_style=HEADING, show_lines=True)
    for heading in ("engine", "version", "TLS", "channel bindings", "group"):
        table.add_column(heading, no_wrap=heading != "version", overflow="fold")
    for status in statuses:
        table.add_row(*_row(console, status))
    console.print(table)
    for status in statuses:
        if status.problem is not None:
            console.print(console.cell(f"{status.name}: {status.problem.message}", "yellow"))
            if status.problem.remedy:
                console.print(console.cell(f"  {status.problem.remedy}", "bold"))


def _row(console: Terminal, status: BackendStatus) -> list[Any]:
    name = console.verdict(status.capabilities is not None, status.name)
    if status.capabilities is None:
        return [name, console.cell("not installed", "dim")]
    facts = status.capabilities
    columns = [[version.value for version in facts.tls_versions], facts.channel_bindings]
    stacked = [console.lines(column) for column in columns]
    return [name, console.cell(facts.version), *stacked, "told" if facts.reports_group else "not told"]
