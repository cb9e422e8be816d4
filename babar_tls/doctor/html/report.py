"""The report: the verdict, then host by host the stages, their timing, the certificates and the handshakes."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from ..diagnosis import Status
from .certificates import chain
from .marks import MARKS, WORDS, mark
from .markup import Html, bounded, count, element, isolated, join
from .units import duration, moment
from .waterfall import waterfall

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..diagnosis import BackendHandshake, Diagnosis, Finding, Stage, Target

_MAX_TARGETS = 20
_MAX_STAGES = 40
_MAX_FINDINGS = 10
_MAX_HANDSHAKES = 20
_MAX_OBSERVATIONS = 200
_MAX_OBSERVATION_CHARACTERS = 16000  # of all observations of one stage, as markup
_MAX_NAME = 300

# The report loads nothing and runs nothing, even if escaping had a fault.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def render(diagnosis: Diagnosis) -> str:
    """Return the report of a diagnosis as an HTML document, to be written as UTF-8.

    The document contains no script and loads nothing. The same diagnosis gives the same document.
    """
    status, headline, explanation = _verdict(diagnosis)
    names = [target.name for target in diagnosis.targets]
    subject = (
        names[0][:_MAX_NAME] + (f" and {count(len(names) - 1, 'other host')}" if names[1:] else "") if names else None
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", " - ".join(filter(None, (headline[:_MAX_NAME], subject, "babar-tls doctor")))),
        element("style", Html(files(__package__).joinpath("report.css").read_text(encoding="utf-8"))),
    )
    header = element(
        "header",
        element("p", "babar-tls doctor: diagnosis of a PostgreSQL connection", class_="program"),
        element("h1", element("span", MARKS[status], class_="mark", aria_hidden="true"), " ", headline),
        explanation,
        element("p", "Diagnosed on ", element("time", moment(diagnosis.began)), ".", class_="when"),
        class_=f"verdict {status.value}",
    )
    shown = diagnosis.targets[:_MAX_TARGETS]
    sections = [_target(target, f"host-{number}", diagnosis.began) for number, target in enumerate(shown, 1)]
    main = element("main", _contents(shown), *sections, _omitted(len(diagnosis.targets) - len(shown), "host"))
    body = element("body", header, main, _configuration(diagnosis.configuration))
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def _verdict(diagnosis: Diagnosis) -> tuple[Status, str, Html | None]:
    """Return the kind of the verdict, the verdict in one sentence, and what follows it."""
    fault = diagnosis.fault
    if fault is not None:
        place = _place(diagnosis, fault)
        cause = element("p", "Cause: ", element("code", fault.cause.value), join("; ", place) if place else None, ".")
        return Status.FAILED, f"The connection fails: {fault.text}", join(_remedy(fault), cause)
    if not diagnosis.targets:
        return Status.WARNING, "No host was diagnosed.", None
    stages = [diagnosis.configuration, *(stage for target in diagnosis.targets for stage in target.stages)]
    warnings = sum(not finding.is_fault for stage in stages for finding in stage.findings)
    failed = sum(target.fault is not None for target in diagnosis.targets)
    notes = []
    if failed:
        notes.append(f"{failed} of {count(len(diagnosis.targets), 'host')} {'fails' if failed == 1 else 'fail'}.")
    if warnings:
        notes.append(f"There {'is' if warnings == 1 else 'are'} {count(warnings, 'warning')}.")
    kind = Status.WARNING if notes else Status.OK
    return kind, "The connection works.", element("p", " ".join(notes)) if notes else None


def _place(diagnosis: Diagnosis, fault: Finding) -> Html | None:
    """Return a link to the stage with the fault."""
    if fault in diagnosis.configuration.findings:
        return join("stage ", element("a", diagnosis.configuration.title, href="#configuration"))
    for number, target in enumerate(diagnosis.targets[:_MAX_TARGETS], 1):
        for index, stage in enumerate(target.stages[:_MAX_STAGES], 1):
            if fault in stage.findings:
                return join("stage ", element("a", stage.title, href=f"#host-{number}-stage-{index}"))
    return None


def _contents(targets: Sequence[Target]) -> Html | None:
    """Return links to the hosts, if there are several."""
    if len(targets) < 2:
        return None
    items = []
    for number, target in enumerate(targets, 1):
        link = element("a", isolated(target.name, limit=_MAX_NAME), href=f"#host-{number}")
        fault = target.fault
        status = Status.OK if fault is None else Status.FAILED
        items.append(element("li", mark(status), " ", link, ": ", "works" if fault is None else fault.text))
    return element("nav", element("h2", "Hosts"), element("ol", *items), aria_label="Hosts", class_="card")


def _target(target: Target, anchor: str, now: float) -> Html:
    """Return the section of one host."""
    stages = target.stages[:_MAX_STAGES]
    items = [_stage(stage, f"{anchor}-stage-{index}") for index, stage in enumerate(stages, 1)]
    left_out = _omitted(len(target.stages) - len(stages), "stage")
    parts = [_part("Stages", element("ol", *items, class_="stages"), left_out)]
    if stages:
        parts.append(_part("Timing", waterfall(stages)))
    if target.certificates:
        parts.append(_part("Certificate chain", chain(target.certificates, now=now)))
    if target.handshakes:
        handshakes = target.handshakes[:_MAX_HANDSHAKES]
        left_out = _omitted(len(target.handshakes) - len(handshakes), "backend")
        parts.append(_part("TLS handshakes", _handshakes(handshakes), left_out))
    return element("section", element("h2", isolated(target.name, limit=_MAX_NAME)), *parts, id=anchor)


def _part(title: str, *contents: Html | None) -> Html:
    return element("section", element("h3", title), *contents, class_="card")


def _configuration(stage: Stage) -> Html:
    contents = element("div", _outcome(stage), class_=f"stage {stage.status.value}")
    heading = element(
        "h2", "Configuration ", mark(stage.status), element("span", duration(stage.seconds), class_="time")
    )
    return element("footer", element("section", heading, contents, id="configuration", class_="card"))


def _stage(stage: Stage, anchor: str) -> Html:
    shown = None if stage.status is Status.SKIPPED else duration(stage.seconds)
    heading = element("h4", mark(stage.status), " ", stage.title)
    word = WORDS[stage.status] if stage.skipped is None else f"skipped: {stage.skipped}"
    time = None if shown is None else element("span", shown, class_="time")
    line = element("div", heading, element("span", word, class_="word"), time, class_="line")
    return element("li", line, _outcome(stage), class_=f"stage {stage.status.value}", id=anchor)


def _outcome(stage: Stage) -> Html:
    """Return the observations and findings of a stage."""
    parts: list[Html | None] = []
    if stage.observations:
        part = bounded(stage.observations, items=_MAX_OBSERVATIONS, characters=_MAX_OBSERVATION_CHARACTERS)
        parts.append(element("ul", *(element("li", item) for item in part.items), class_="observations"))
        parts.append(_omitted(part.left_out, "observation"))
    parts += [_finding(finding) for finding in stage.findings[:_MAX_FINDINGS]]
    parts.append(_omitted(len(stage.findings) - _MAX_FINDINGS, "finding"))
    return join(*parts)


def _finding(finding: Finding) -> Html:
    kind, word = ("failed", "Fault") if finding.is_fault else ("warning", "Warning")
    head = element("p", element("strong", word), " (", element("code", finding.cause.value), "): ", finding.text)
    return element("div", head, _remedy(finding), class_=f"finding {kind}")


def _remedy(finding: Finding) -> Html | None:
    return element("p", element("strong", "Remedy: "), finding.remedy, class_="remedy") if finding.remedy else None


def _omitted(number: int, singular: str) -> Html | None:
    return element("p", f"{count(number, f'more {singular}')} not shown.", class_="omitted") if number > 0 else None


_COLUMNS = ("Backend", "Result", "Version", "Cipher suite", "Group", "ALPN", "Time")


def _handshakes(handshakes: Sequence[BackendHandshake]) -> Html:
    """Return the table of handshakes. The roles keep it a table where CSS shows each row as a list."""
    header = element("tr", *(element("th", name, scope="col", role="columnheader") for name in _COLUMNS), role="row")
    rows = [_handshake(handshake) for handshake in handshakes]
    head, body = element("thead", header, role="rowgroup"), element("tbody", *rows, role="rowgroup")
    caption = element("caption", "One handshake with each installed TLS backend, without verification.")
    return element("table", caption, head, body, role="table", class_="handshakes")


def _handshake(handshake: BackendHandshake) -> Html:
    name = join(handshake.backend, " (selected)" if handshake.is_selected else None)
    values = (handshake.tls_version, handshake.cipher, handshake.group or "not known", handshake.alpn or "none")
    if handshake.problem is None:
        result = [_cell("Result", join(mark(Status.OK), " works"))]
        result += [_cell(label, value or "not known") for label, value in zip(_COLUMNS[2:6], values, strict=True)]
    else:
        result = [_cell("Result", join(mark(Status.FAILED), " ", isolated(handshake.problem)), columns=5)]
    return element(
        "tr",
        element("th", name, scope="row", role="rowheader"),
        *result,
        _cell("Time", duration(handshake.seconds)),
        class_="selected" if handshake.is_selected else None,
        role="row",
    )


def _cell(label: str, value: str, *, columns: int = 1) -> Html:
    span = None if columns == 1 else str(columns)
    return element("td", value, role="cell", data_label=label, colspan=span, aria_colspan=span)
