"""``babar-tls explain``: what a connection string means, without connecting."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

from ._errors import require_rich
from ._text import print_json

if TYPE_CHECKING:
    import argparse

    from ..config import Config
    from ..explanation import Explanation
    from ..host import Host
    from ._terminal import Terminal

HELP = "say what a connection string means here, and what is weak in it, without connecting"
DESCRIPTION = (
    "Say what a connection string means on this machine: each parameter and where it comes from, what will be "
    "verified, what could be given away, and what is weak, with a stronger line to paste. Nothing is connected to."
)
EPILOG = """\
CONNINFO is a libpq connection string, quoted as one argument: a URI or keywords. What it leaves open comes from a
service file, from PG* variables and from default files, as in libpq. Passwords and keys are not shown.

examples:
  babar-tls explain "postgresql://app@db.example.com/billing?sslmode=require&channel_binding=require"
  PGSERVICE=billing babar-tls explain
  babar-tls explain "host=db.example.com sslmode=prefer" --json
"""

CONNECTION_STRING = "connection string"
DEFAULT = "default"
_SECRET = "(hidden)"  # noqa: S105 - what is shown in place of one
_SECRETS = frozenset(
    [
        "password",
        "scram_client_key",
        "scram_server_key",
        "tls_client_key_password",
        "oauth_client_secret",
        "sslpassword",
    ]
)


_ROUNDS = 4  # more than there are layers of advice

#: Keywords that would go on saying what another is changed to deny.
_SAY_THE_SAME = {
    "sslmode": ("tls_mode", "tls_verify", "tls_fallback", "tls_default_roots"),
    "channel_binding": ("scram_channel_binding",),
}


class Parameter(NamedTuple):
    """One field of the configuration, as it is shown."""

    name: str
    value: str
    source: str


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare this command's arguments."""
    parser.add_argument("conninfo", metavar="CONNINFO", nargs="?", default="", help="what to explain")
    parser.add_argument("--backend", metavar="NAME", help="TLS engine (babar-tls backends lists them)")
    parser.add_argument("--all", action="store_true", help="list the parameters that have their defaults, too")
    parser.add_argument(
        "--untrusted", action="store_true", help="it comes from somebody else: it may name no file and no service"
    )


def run(options: argparse.Namespace) -> int:
    """Explain."""
    if not options.json:
        require_rich()
    from ..config import Config  # noqa: PLC0415 - the rest of the library, which --help does not need
    from ..conninfo import interpret, resolve  # noqa: PLC0415
    from ..explanation import explain  # noqa: PLC0415

    allow_files = not options.untrusted
    overrides = {} if options.backend is None else {"tls_backend": options.backend}
    config = Config.from_conninfo(options.conninfo, allow_files=allow_files, **overrides)
    settings = resolve(options.conninfo, allow_files=allow_files)
    fields = interpret(settings, allow_files=allow_files)
    sources = {name: _source(field.keyword, field.source) for name, field in fields.items()}
    sources.update(dict.fromkeys(overrides, "argument --backend"))
    explanation = explain(config)
    parameters = _parameters(config, sources)
    own = {name: setting.value for name, setting in settings.items() if setting.source == CONNECTION_STRING}
    stronger = _stronger(own, allow_files)
    if options.json:
        print_json(_document(parameters, explanation, stronger))
    else:
        shown = [item for item in parameters if options.all or item.source != DEFAULT]
        _draw(shown, explanation, stronger)
    return 0


def _source(keyword: str | None, source: str) -> str:
    """Who said so, and in which word of his."""
    return f"{source}: {keyword}" if keyword and source == CONNECTION_STRING else source


def _parameters(config: Config, sources: dict[str, str]) -> list[Parameter]:
    hidden = {"host", "port", "hostaddr"} if config.hosts else {"hosts"}
    return [
        Parameter(item.name, _shown(item.name, getattr(config, item.name)), sources.get(item.name, "default"))
        for item in dataclasses.fields(config)
        if item.name not in hidden
    ]


def _place(host: Host) -> str:
    """A host in short."""
    return f"{host.host}:{host.port}" + (f" at {host.hostaddr}" if host.hostaddr else "")


def _shown(name: str, value: Any) -> str:
    if value in (None, (), ""):
        return "-"
    if name in _SECRETS or isinstance(value, bytes):
        return _SECRET
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if name == "hosts":
        return ", ".join(
            f"{host.host}:{host.port}" + (f" at {host.hostaddr}" if host.hostaddr else "") for host in value
        )
    if name == "server_settings":
        return " ".join(f"{setting}={text}" for setting, text in value)
    return ", ".join(value) if isinstance(value, tuple) else str(getattr(value, "value", value))


def _stronger(own: dict[str, str], allow_files: bool) -> str | None:
    """The string with all advice taken, secrets left out; `None` where there is nothing to advise."""
    from ..config import Config  # noqa: PLC0415 - as in `run`
    from ..conninfo.syntax import quote  # noqa: PLC0415
    from ..weaknesses import weaknesses  # noqa: PLC0415

    pairs = {keyword: value for keyword, value in own.items() if keyword not in _SECRETS and value}
    line = None
    for _ in range(_ROUNDS):  # what is mended may bring to light what was of no account before
        text = " ".join(f"{keyword}={quote(value)}" for keyword, value in pairs.items())
        changes = {
            keyword: value
            for advice in weaknesses(Config.from_conninfo(text, allow_files=allow_files))
            for keyword, value in advice.change
        }
        if not changes:
            break
        replaced = {word for keyword in changes for word in (keyword, *_SAY_THE_SAME.get(keyword, ()))}
        pairs = {keyword: value for keyword, value in pairs.items() if keyword not in replaced} | changes
        line = " ".join(f"{keyword}={quote(value)}" for keyword, value in pairs.items())
    return line


def _document(parameters: list[Parameter], explanation: Explanation, stronger: str | None) -> dict[str, Any]:
    return {
        "parameters": [item._asdict() for item in parameters],
        "meaning": {item.topic: item.text for item in explanation.meanings},
        "warnings": [{"text": advice.text, "change": dict(advice.change)} for advice in explanation.warnings],
        "stronger": stronger,
    }


def _draw(parameters: list[Parameter], explanation: Explanation, stronger: str | None) -> None:
    from rich.table import Table  # noqa: PLC0415 - optional

    from ._terminal import HEADING, terminal  # noqa: PLC0415

    console = terminal()
    table = Table(box=console.outline, header_style=HEADING)
    for heading in ("parameter", "value", "from"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "parameter")
    for item in parameters:
        table.add_row(*(console.cell(text) for text in item))
    console.print(table)
    console.print(_meanings(console, explanation))
    for advice in explanation.warnings:
        mend = " ".join(f"{keyword}={value}" for keyword, value in advice.change)
        console.print(console.cell(f"! {advice.text}", "yellow"))
        if mend:
            console.print(console.cell(f"    {mend}", "bold"))
    if stronger is not None:
        console.print(
            console.cell("Stronger (a password is to be added; a CA of your own goes into sslrootcert=FILE):")
        )
        console.print(console.cell(f"  {stronger}", "bold"), soft_wrap=True)
    else:
        console.print(console.cell("Nothing in it is weak.", "green"))


def _meanings(console: Terminal, explanation: Explanation) -> Any:
    from rich.table import Table  # noqa: PLC0415 - optional

    from ._terminal import HEADING  # noqa: PLC0415

    table = Table(box=console.outline, show_header=False)
    table.add_column(style=HEADING, no_wrap=True)
    table.add_column(overflow="fold")
    for meaning in explanation.meanings:
        table.add_row(console.cell(meaning.topic), console.cell(meaning.text))
    return table
