"""``babar-tls explain``: the meaning and the weaknesses of a connection string, without a connection."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

from ._errors import require_rich
from ._output import print_json

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from ..config import Config
    from ..config.host import Host
    from ..explain import Change

HELP = "explain a connection string and its weaknesses, without connecting"
DESCRIPTION = """\
Explain what a PostgreSQL connection string means on this machine: each parameter and its source, what is verified,
which secrets may be sent, and what is weak, with the parameters to add or to remove. No connection is made."""
EPILOG = """\
CONNINFO is a URI or a keyword string, in the syntax of PostgreSQL's libpq. Quote it as one argument. Parameters that
it does not contain come from a service file, PG* environment variables and default files, as in libpq. Passwords and
keys are hidden. Append what is to be added to a keyword string after a space, and to a URI after "?" or "&".

examples:
  babar-tls explain "postgresql://app@db.example.com/billing?sslmode=require&channel_binding=require"
  PGSERVICE=billing babar-tls explain
  babar-tls explain "host=db.example.com sslmode=prefer" --json
"""

_HIDDEN = "(hidden)"
_DEFAULT = "default"


class Parameter(NamedTuple):
    """A field of the configuration, its value as text and its source."""

    name: str
    value: str
    source: str


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command to the parser."""
    parser.add_argument("conninfo", metavar="CONNINFO", nargs="?", default="", help="the connection string")
    parser.add_argument("--backend", metavar="NAME", help="TLS backend to use (see: babar-tls backends)")
    parser.add_argument("--all", action="store_true", help="also list the parameters that have their default values")
    parser.add_argument(
        "--untrusted",
        action="store_true",
        help="the string comes from another person: refuse file names and services in it",
    )


def run(options: argparse.Namespace) -> int:
    """Explain the connection string."""
    if not options.json:
        require_rich()
    from ..config import Config  # noqa: PLC0415 - not needed for --help, and slow to import
    from ..conninfo import read  # noqa: PLC0415 - the same
    from ..explain import find_changes, find_consequences  # noqa: PLC0415 - the same

    allow_files = not options.untrusted
    overrides = {} if options.backend is None else {"tls_backend": options.backend}
    config = Config.from_conninfo(options.conninfo, allow_files=allow_files, **overrides)
    fields = read(options.conninfo, allow_files=allow_files)
    sources = {name: _source(field.keyword, field.source) for name, field in fields.items()}
    sources.update(dict.fromkeys(overrides, "argument --backend"))
    parameters = _parameters(config, sources)
    consequences = find_consequences(config)
    changes = find_changes(options.conninfo, config, allow_files=allow_files)
    if options.json:
        print_json(_document(options.conninfo, parameters, consequences, changes))
    else:
        shown = [item for item in parameters if options.all or item.source != _DEFAULT]
        _draw(options.conninfo, shown, consequences, changes)
    return 0


def _source(keyword: str | None, source: str) -> str:
    return f"{source}: {keyword}" if keyword and source == "connection string" else source


def _parameters(config: Config, sources: dict[str, str]) -> list[Parameter]:
    left_out = {"host", "port", "hostaddr"} if config.hosts else {"hosts"}
    return [
        Parameter(item.name, _shown(item.name, getattr(config, item.name)), sources.get(item.name, _DEFAULT))
        for item in dataclasses.fields(config)
        if item.name not in left_out
    ]


def _shown(name: str, value: Any) -> str:
    from ..conninfo.keywords import KEYWORDS  # noqa: PLC0415 - as in `run`

    if value in (None, (), ""):
        return "-"
    if isinstance(value, bytes) or (name in KEYWORDS and KEYWORDS[name].secret):
        return _HIDDEN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if name == "hosts":
        return ", ".join(_place(host) for host in value)
    if name == "server_settings":
        return " ".join(f"{setting}={text}" for setting, text in value)
    return ", ".join(value) if isinstance(value, tuple) else str(getattr(value, "value", value))


def _place(host: Host) -> str:
    return f"{host.host}:{host.port}" + (f" at {host.hostaddr}" if host.hostaddr else "")


def _document(
    conninfo: str, parameters: list[Parameter], consequences: dict[str, str], changes: Sequence[Change]
) -> dict[str, Any]:
    from ..explain import combined, written_like  # noqa: PLC0415 - as in `run`

    add, remove = combined(changes)
    return {
        "parameters": [item._asdict() for item in parameters],
        "meaning": consequences,
        "warnings": [
            {
                "text": change.weakness.text,
                "add": written_like(conninfo, change.add),
                "remove": change.remove,
                "overrides": change.overrides,
            }
            for change in changes
        ],
        "changes": {"add": written_like(conninfo, add), "remove": remove},
    }


def _draw(conninfo: str, parameters: list[Parameter], consequences: dict[str, str], changes: Sequence[Change]) -> None:
    from ..explain import combined, written_like  # noqa: PLC0415 - as in `run`
    from ._terminal import terminal  # noqa: PLC0415 - optional

    console = terminal()
    table = console.table()
    for heading in Parameter._fields:
        table.add_column(heading, overflow="fold", no_wrap=heading == "name")
    for item in parameters:
        table.add_row(*map(console.cell, item))
    console.print(table)
    console.print(console.facts(consequences.items()))
    for change in changes:
        console.write(f"! {change.weakness.text}", "yellow")
        if change.add:
            console.write(f"    add: {written_like(conninfo, change.add)}", "bold")
        if change.remove:
            console.write(f"    remove: {', '.join(change.remove)}", "bold")
        for source in change.overrides:
            console.write(f"    This overrides a value from {source}. You can also change it there.")
    add, _ = combined(changes)
    if sum(bool(change.add) for change in changes) > 1:
        console.write("All additions together:")
        console.print(console.cell(f"  {written_like(conninfo, add)}", "bold"), soft_wrap=True)
    elif not changes:
        console.write("No weakness found.", "green")
