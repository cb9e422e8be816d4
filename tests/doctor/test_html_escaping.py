"""No text can become markup, and none can hide or reorder what is displayed."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from datetime import UTC, datetime
from html import unescape
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from babar_tls.doctor.diagnosis import Diagnosis, Finding, Target
from babar_tls.doctor.html import render
from babar_tls.doctor.html.markup import bounded, element, text
from babar_tls.doctor.html.units import duration, moment, tick_labels, ticks

from .html_document import Document
from .html_hostile import EVIL, ONE_HOSTILE
from .html_samples import CONFIGURATION, EXPIRED, HANDSHAKES, NOW, SERVER, STAGES

if TYPE_CHECKING:
    from babar_tls.doctor.html.markup import Html

#: Texts with many characters that HTML or a display treats specially.
TEXTS = st.text() | st.text(alphabet="<>&\"'/=!- \x00\n\x1b\u202e\u2066\u200f\ufeff\udc80a;#x")


def diagnosis_with(value: str) -> Diagnosis:
    """Return a diagnosis with a text in each place where a peer could put one."""
    stage = replace(
        STAGES[0],
        title=value,
        observations=(value, value),
        findings=(Finding(cause=EXPIRED.cause, is_fault=True, text=value, remedy=value),),
    )
    skipped = replace(STAGES[0], skipped=value)
    certificate = replace(
        SERVER,
        role=value,
        origin=value,
        subject=value,
        names=(value, value),
        issuer=value,
        key=value,
        signature=value,
        sha256=value,
        fault=value,
    )
    handshake = replace(HANDSHAKES[0], backend=value, tls_version=value, cipher=value, group=value, alpn=value)
    target = Target(
        name=value,
        stages=(stage, skipped),
        handshakes=(handshake, replace(handshake, problem=value)),
        certificates=(certificate, certificate),
    )
    return Diagnosis(began=NOW, configuration=replace(CONFIGURATION, observations=(value,)), targets=(target, target))


HARMLESS = Document(render(diagnosis_with("text")))


@settings(max_examples=60, deadline=None)
@given(TEXTS.filter(bool))
def test_text_changes_no_element_and_no_link(value: str) -> None:
    document = Document(render(diagnosis_with(value)))
    assert [name for name, _ in document.elements] == [name for name, _ in HARMLESS.elements]
    for (_, found), (_, expected) in zip(document.elements, HARMLESS.elements, strict=True):
        assert found.keys() == expected.keys()
        assert found.get("href") == expected.get("href")
    assert document.style == HARMLESS.style


@given(TEXTS)
def test_escaped_text_has_no_invisible_character(value: str) -> None:
    escaped = text(value)
    assert not set(escaped) & set("<>\"'")
    assert all(char == "\n" or char.isprintable() or unicodedata.category(char) == "Zs" for char in unescape(escaped))
    escaped.encode("utf-8")


@given(TEXTS.filter(lambda value: value.isprintable()))
def test_printable_text_is_displayed_unchanged(value: str) -> None:
    assert Document(element("p", value, title=value)).text == value
    assert Document(element("p", value, title=value)).elements == [("p", {"title": value})]


@given(st.lists(TEXTS), st.integers(1, 5), st.integers(0, 50))
def test_list_is_bounded_and_the_rest_is_counted(values: list[str], items: int, characters: int) -> None:
    part = bounded(values, items=items, characters=characters)
    assert len(part.items) + part.left_out == len(values)
    assert len(part.items) <= items
    assert sum(map(len, part.items[1:])) <= characters
    expected: list[Html] = [text(value) for value in values]
    assert part.items == expected[: len(part.items)]


def test_hostile_texts_are_escaped() -> None:
    source = render(ONE_HOSTILE)
    assert "<script" not in source
    assert "<img" not in source
    assert not set(source) & set("\x00\x1b\u202e\u202c\u2066")
    assert EVIL not in source
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in source
    assert r"\x1b[31m\u202etxet\u202c\u2066\udc80" in source
    source.encode("utf-8")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_time_can_be_displayed(seconds: float) -> None:
    moment(seconds)


@given(st.datetimes(timezones=st.just(UTC)))
def test_time_is_displayed_in_utc(time: datetime) -> None:
    assert moment(time.replace(microsecond=0).timestamp()) == f"{time:%Y-%m-%d %H:%M:%S} UTC"


@given(st.floats(0.001, 1e6))
def test_ticks_are_few_and_their_labels_differ(length: float) -> None:
    positions = ticks(length)
    assert positions[0] == 0
    assert 2 <= len(positions) <= 6
    assert positions[-1] <= length * (1 + 1e-6)
    labels = tick_labels(positions)
    assert len(set(labels)) == len(labels)
    assert len({label.split()[1] for label in labels}) == 1
    assert all(float(label.split()[0]) < 1000 or length >= 1000 for label in labels)


def test_durations() -> None:
    values = (0, 0.00004, 0.0012, 0.00996, 0.0124, 0.9994, 0.9996, 1.5, 9.994, 9.996, 120)
    shown = [
        "0.0 ms",
        "0.0 ms",
        "1.2 ms",
        "10.0 ms",
        "12 ms",
        "999 ms",
        "1.00 s",
        "1.50 s",
        "9.99 s",
        "10.0 s",
        "120.0 s",
    ]
    assert [duration(value) for value in values] == shown
