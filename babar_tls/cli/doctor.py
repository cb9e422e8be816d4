"""``babar-tls doctor``: diagnose a connection in stages, and name the cause if it fails."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from ..diagnostics.counts import count
from ._connection_options import add_connection_options, overrides
from ._errors import UsageError, file_error
from ._output import milliseconds, print_json, without_weakness_warnings

if TYPE_CHECKING:
    import argparse

    from ..doctor import Diagnosis, Finding, Stage

HELP = "find out why a connection fails, stage by stage, and how to fix it"
DESCRIPTION = """\
Diagnose a connection to a PostgreSQL server. Each stage is checked separately: the configuration, the name, each
address, TLS with each installed backend, the certificates, their trust, the host name, the authentication methods,
channel binding, the login, and the server's settings. The last lines have the cause and its remedy."""
EPILOG = """\
CONNINFO is a URI or a keyword string, in the syntax of PostgreSQL's libpq. Quote it as one argument. Other users of
this machine can read command lines: pass a password in a file or in PGPASSWORD. The password is used only in one
connect, which follows the configuration. It is never shown.

The exit status is 0 if the connection works, even with warnings, and otherwise that of the cause.

examples:
  babar-tls doctor "postgresql://app@db.example.com/shop?sslmode=verify-full"
  babar-tls doctor "host=localhost port=6543" --server-name db.example.com
  babar-tls doctor "host=db.example.com user=app" --json
  babar-tls doctor "host=db.example.com user=app" --html report.html
"""
OWN_JSON = True

#: Marks for each status, in UTF-8 and in ASCII, and their styles.
_MARKS = {
    "ok": ("✓", "+", "green"),
    "warning": ("!", "!", "yellow"),
    "failed": ("✗", "x", "red"),
    "skipped": ("-", "-", "dim"),
}
_INDENT = "    "


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command to the parser."""
    add_connection_options(parser, backend="TLS backend to select", timeout="time limit for each stage")
    formats = parser.add_mutually_exclusive_group()
    formats.add_argument("--json", action="store_true", help="print the diagnosis, or the error, as one JSON document")
    formats.add_argument("--html", metavar="FILE", help="also write a report to this file, which must not exist")


@without_weakness_warnings()
def run(options: argparse.Namespace) -> int:
    """Diagnose the connection, and show each stage when it is complete."""
    from ..doctor import diagnose  # noqa: PLC0415 - slow to import, not needed for --help

    changes = overrides(options)
    if options.json:
        diagnosis = diagnose(options.conninfo, overrides=changes)
        print_json(diagnosis.as_dict())
        return _exit_status(diagnosis)
    if options.html is not None:
        _check_destination(options.html)
    view = _View()
    diagnosis = diagnose(options.conninfo, overrides=changes, on_stage=view.draw_stage)
    view.draw_verdict(diagnosis)
    if options.html is not None:
        _write_report(diagnosis, options.html)
        view.write(f"The report is in {options.html}.")
    return _exit_status(diagnosis)


def _exit_status(diagnosis: Diagnosis) -> int:
    from ._doctor_statuses import STATUSES  # noqa: PLC0415 - as in `run`

    return 0 if diagnosis.fault is None else STATUSES[diagnosis.fault.cause]


def _check_destination(path: str) -> None:
    """Check that the report can be written, before the diagnosis, which may take long.

    Raises:
        UsageError: The file exists, or its folder does not exist or cannot be written to.
    """
    folder, remedy = os.path.dirname(path) or ".", "Name a new file for the report."  # noqa: PTH120 - may have a NUL
    if "\0" in path:
        raise UsageError("the name of the report contains a NUL", remedy=remedy)
    if os.path.lexists(path):
        raise UsageError(f'"{path}" exists', remedy=remedy)
    if not os.path.isdir(folder):  # noqa: PTH112 - as above
        raise UsageError(f'"{path}" cannot be written: there is no folder "{folder}"', remedy=remedy)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f'"{path}" cannot be written: no permission to write to "{folder}"', remedy=remedy)


def _write_report(diagnosis: Diagnosis, path: str) -> None:
    """Write the report to a new file.

    Raises:
        ConfigError: The file exists, or cannot be written.
    """
    report = import_module("babar_tls.doctor.html").render(diagnosis)
    try:
        with Path(path).open("x", encoding="utf-8") as file:
            file.write(report)
    except (OSError, ValueError) as exc:
        raise file_error(f'the report "{path}" cannot be written', exc) from exc


def _count_warnings(diagnosis: Diagnosis) -> int:
    stages = [diagnosis.configuration, *(stage for target in diagnosis.targets for stage in target.stages)]
    return sum(not finding.is_fault for stage in stages for finding in stage.findings)


class _View:
    """The diagnosis as text, on standard output."""

    def __init__(self) -> None:
        from ._terminal import terminal  # noqa: PLC0415 - not needed for --help

        self._terminal = terminal()
        self._target: str | None = None

    def draw_stage(self, target: str | None, stage: Stage) -> None:
        """Show a stage; in front of the first stage of a host, the host."""
        if target is not None and target != self._target:
            self._target = target
            self.write("")
            self.write(target, "bold")
        mark, style = self._mark(stage.status.value)
        if stage.skipped is not None:
            self.write(f"{mark} {stage.title}  skipped: {stage.skipped}", style)
            return
        self.write(f"{mark} {stage.title}  {milliseconds(stage.seconds)}", style)
        for text in stage.observations:
            self.write(text, indent=_INDENT)
        for finding in stage.findings:
            self._draw_finding(finding)

    def draw_verdict(self, diagnosis: Diagnosis) -> None:
        """Show the result in one line."""
        fault = diagnosis.fault
        self.write("")
        if fault is None:
            mark, style = self._mark("ok")
            warnings = _count_warnings(diagnosis)
            more = f", with {count(warnings, 'warning')}" if warnings else ""
            self.write(f"{mark} The connection works{more}.", style)
        else:
            mark, style = self._mark("failed")
            self.write(f"{mark} {fault.cause.value}: {fault.text}", style)
            self._draw_remedy(fault)

    def write(self, text: str, style: str = "", *, indent: str = "") -> None:
        """Print a text, whose further lines are indented too. Words are not broken."""
        self._terminal.write(indent + text, style, hang=2)

    def _draw_finding(self, finding: Finding) -> None:
        mark, style = self._mark("failed" if finding.is_fault else "warning")
        self.write(f"{mark} {finding.cause.value}: {finding.text}", style, indent=_INDENT)
        self._draw_remedy(finding, indent=_INDENT)

    def _draw_remedy(self, finding: Finding, *, indent: str = "") -> None:
        for line in (finding.remedy or "").splitlines():
            self.write(line, indent=indent + "  ")

    def _mark(self, status: str) -> tuple[str, str]:
        rich, plain, style = _MARKS[status]
        return (rich if self._terminal.unicode else plain), style
