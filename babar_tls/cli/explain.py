"""``babar-tls explain``: the meaning and the weaknesses of a connection string, without a connection."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ._output import print_json

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Mapping

HELP = "explain a connection string and its weaknesses, without connecting"
DESCRIPTION = """\
Explain what a PostgreSQL connection string means on this machine: each parameter and its source, what is verified,
which secrets may be sent, and what is weak, with the parameters to add or to remove. No connection is made."""
EPILOG = """\
CONNINFO is a URI or a keyword string, in the syntax of PostgreSQL's libpq, or a URL of JDBC or SQLAlchemy, which is
translated. Quote it as one argument. Parameters that it does not contain come from a service file, PG* environment
variables and default files, as in libpq. Passwords and keys are hidden. Parameters to add have the form of CONNINFO.

examples:
  babar-tls explain "postgresql://app@db.example.com/shop?sslmode=require"
  PGSERVICE=billing babar-tls explain
  babar-tls explain "host=db.example.com sslmode=prefer" --json
"""

_DEFAULT = "default"


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
    from ..config import Config  # noqa: PLC0415 - slow to import, not needed for --help
    from ..conninfo import read  # noqa: PLC0415 - the same
    from ..explain.changes import combined, find_changes, find_misplaced, separator, written_like  # noqa: PLC0415 - the same
    from ..explain.consequences import find_consequences  # noqa: PLC0415 - the same
    from ..explain.foreign_urls import translate  # noqa: PLC0415 - the same
    from ..explain.parameters import list_parameters  # noqa: PLC0415 - the same
    from ..explain.problems import find_problems, is_fatal  # noqa: PLC0415 - the same

    allow_files = not options.untrusted
    overrides = {} if options.backend is None else {"tls_backend": options.backend}
    foreign = translate(options.conninfo)
    conninfo = options.conninfo if foreign is None else foreign.conninfo
    environ = None if foreign is None else foreign.environ(os.environ)
    config = Config.from_conninfo(conninfo, allow_files=allow_files, environ=environ, **overrides)
    fields = read(conninfo, allow_files=allow_files, environ=environ)
    parameters = list_parameters(config, fields, dict.fromkeys(overrides, "argument --backend"))
    changes = find_misplaced(options.conninfo, config)
    changes += find_changes(conninfo, config, allow_files=allow_files, environ=environ)

    def written(add: Mapping[str, str], remove: Iterable[str]) -> dict[str, Any]:
        text = written_like(conninfo, add) if foreign is None else foreign.write(add)
        removed = [*remove, *(() if foreign is None else foreign.removed(add))]
        append = f"{separator(options.conninfo, removed)}{text}" if text else ""
        return {"add": text, "append": append, "remove": removed}

    problems = find_problems(config, only_roots=foreign is not None and not foreign.is_own)
    if foreign is not None:
        problems = [problem._replace(remedy=foreign.adapt_remedy(problem.remedy)) for problem in problems]
    add, remove = combined(changes)
    document = {
        "notes": [] if foreign is None else [*foreign.notes, *foreign.advise(add)],
        "parameters": [parameter._asdict() for parameter in parameters],
        "meaning": find_consequences(config),
        "problems": [problem._asdict() for problem in problems],
        "warnings": [
            {
                "text": change.weakness.text,
                **written(change.add, change.remove),
                "overrides": change.overrides,
            }
            for change in changes
        ],
        "changes": written(add, remove),
    }
    if options.json:
        print_json(document)
    else:
        _draw(document, show_all=options.all)
    return 2 if problems and is_fatal(config) else 0


def _draw(document: dict[str, Any], *, show_all: bool) -> None:
    from ._terminal import terminal  # noqa: PLC0415 - as in `run`

    console = terminal()
    for note in document["notes"]:
        console.write(note)
    parameters = [item for item in document["parameters"] if show_all or item["source"] != _DEFAULT]
    console.print(console.table([list(item.values()) for item in parameters], ["parameter", "value", "source"]))
    console.print(console.facts(document["meaning"].items()))
    for problem in document["problems"]:
        console.warning(problem["text"])
        if problem["remedy"]:
            console.write(f"    {problem['remedy']}")
    is_uri = document["changes"]["append"].startswith(("?", "&"))
    for warning in document["warnings"]:
        console.warning(warning["text"])
        if warning["add"]:
            what, text = ("append", warning["append"]) if is_uri else ("add", warning["add"])
            console.write(f"    {what}: {text}", "bold")
        if warning["remove"]:
            console.write(f"    remove: {', '.join(warning['remove'])}", "bold")
        for source in warning["overrides"]:
            console.write(f"    This overrides a value from {source}. You can also change it there.")
    if not document["warnings"]:
        console.write("No weakness found.", "green")
    elif document["changes"]["add"]:
        console.write("All changes together, to append to the string:" if is_uri else "All additions together:")
        console.copyable(f"  {document['changes']['append' if is_uri else 'add']}", "bold")
        if document["changes"]["remove"]:
            console.write(f"  remove: {', '.join(document['changes']['remove'])}", "bold")
