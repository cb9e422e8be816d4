"""``babar-tls explain``: what a connection string means, without connecting."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

from ._errors import require_rich
from ._text import print_json

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from ..config import Config
    from ..config.host import Host
    from ..explain.explanation import Advice, Explanation
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

_SECRET = "(hidden)"  # noqa: S105 - what is shown in place of one

_ROUNDS = 4  # more than there are layers of advice


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
    from ..conninfo.tls_options import DEFAULT  # noqa: PLC0415
    from ..conninfo.values import CONNECTION_STRING  # noqa: PLC0415
    from ..explain.explanation import explain  # noqa: PLC0415

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
    warnings, stronger = _mended(own, explanation.warnings, allow_files)
    explanation = dataclasses.replace(explanation, warnings=warnings)
    if options.json:
        print_json(_document(parameters, explanation, stronger))
    else:
        shown = [item for item in parameters if options.all or item.source != DEFAULT]
        _draw(shown, explanation, stronger)
    return 0


def _source(keyword: str | None, source: str) -> str:
    """Who said so, and in which word of his."""
    from ..conninfo.values import CONNECTION_STRING  # noqa: PLC0415 - as in `run`

    return f"{source}: {keyword}" if keyword and source == CONNECTION_STRING else source


def _parameters(config: Config, sources: dict[str, str]) -> list[Parameter]:
    from ..conninfo.tls_options import DEFAULT  # noqa: PLC0415 - as in `run`

    hidden = {"host", "port", "hostaddr"} if config.hosts else {"hosts"}
    return [
        Parameter(item.name, _shown(item.name, getattr(config, item.name)), sources.get(item.name, DEFAULT))
        for item in dataclasses.fields(config)
        if item.name not in hidden
    ]


def _place(host: Host) -> str:
    """A host in short."""
    return f"{host.host}:{host.port}" + (f" at {host.hostaddr}" if host.hostaddr else "")


def _shown(name: str, value: Any) -> str:
    if value in (None, (), ""):
        return "-"
    if _is_secret(name) or isinstance(value, bytes):
        return _SECRET
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if name == "hosts":
        return ", ".join(_place(host) for host in value)
    if name == "server_settings":
        return " ".join(f"{setting}={text}" for setting, text in value)
    return ", ".join(value) if isinstance(value, tuple) else str(getattr(value, "value", value))


def _is_secret(name: str) -> bool:
    """Is this a keyword, or a field of the same name, whose value is not to be shown?"""
    from ..conninfo.keywords import KEYWORDS  # noqa: PLC0415 - as in `run`

    return name in KEYWORDS and KEYWORDS[name].secret


def _mended(
    own: Mapping[str, str], warnings: Sequence[Advice], allow_files: bool
) -> tuple[tuple[Advice, ...], str | None]:
    """The warnings, with such advice as the string can take, and the string with all of it taken.

    Secrets are left out of that. It is `None` where there is nothing to advise, and where something weak would remain
    that has a remedy.
    """
    from ..explain.weaknesses import Advice, weaknesses  # noqa: PLC0415 - as in `run`

    pairs = {keyword: value for keyword, value in own.items() if not _is_secret(keyword)}
    kept = []
    for advice in warnings:  # the worst first, and each on top of those before it
        changed = _changed(pairs, advice)
        stands = advice.change and _config(changed, allow_files) is not None
        kept.append(advice if stands else Advice(advice.text))
        pairs = changed if stands else pairs
    if not any(advice.change for advice in kept):
        return tuple(kept), None
    for _ in range(_ROUNDS):  # what is mended may bring to light what was of no account before
        config = _config(pairs, allow_files)
        more = [advice for advice in weaknesses(config) if advice.change] if config is not None else []
        if not more:
            return tuple(kept), _line(pairs)
        for advice in more:
            changed = _changed(pairs, advice)
            pairs = pairs if _config(changed, allow_files) is None else changed
    return tuple(kept), None


def _changed(pairs: Mapping[str, str], advice: Advice) -> dict[str, str]:
    """The string's keywords with a piece of advice taken, and without those that would go on saying the contrary."""
    from ..conninfo.keywords import SAME  # noqa: PLC0415 - as in `run`

    changes = dict(advice.change)
    roots = pairs.get("tls_root_cert_path") or pairs.get("sslrootcert")
    if "sslmode" in changes and roots:  # those that the string names are to be the ones, in the word that sslmode needs
        changes["sslrootcert"] = roots
    said = {own for own, word in SAME.items() if word in changes and own != "tls_os_roots"} | changes.keys()
    kept = {keyword: value for keyword, value in pairs.items() if keyword not in said}
    for keyword, value in changes.items():
        if value is not None:
            kept[keyword] = value
        elif said.isdisjoint(pairs):  # somebody else says it, and an empty value keeps it from counting
            kept[keyword] = ""
    return kept


def _line(pairs: Mapping[str, str]) -> str:
    from ..conninfo.syntax import quote  # noqa: PLC0415 - as in `run`

    return " ".join(f"{keyword}={quote(value)}" for keyword, value in pairs.items())


def _config(pairs: Mapping[str, str], allow_files: bool) -> Config | None:
    """What these keywords mean, `None` if they cannot stand together or in one string."""
    from ..config import Config  # noqa: PLC0415 - as in `run`
    from ..errors import ConfigError  # noqa: PLC0415

    try:
        return Config.from_conninfo(_line(pairs), allow_files=allow_files)
    except ConfigError:
        return None


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
        mend = _line({keyword: value for keyword, value in advice.change if value is not None})
        console.print(console.cell(f"! {advice.text}", "yellow"))
        if mend:
            console.print(console.cell(f"    {mend}", "bold"))
    if stronger is not None:
        console.print(
            console.cell("Stronger (a password is to be added; a CA of your own goes into sslrootcert=FILE):")
        )
        console.print(console.cell(f"  {stronger}", "bold"), soft_wrap=True)
    elif not explanation.warnings:
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
