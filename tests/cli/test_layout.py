"""Text and tables within a width, and counts with their nouns."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from babar_tls.cli._layout import Table, columns, narrowest, wrap
from babar_tls.cli._rich import RichTerminal
from babar_tls.cli._terminal import Terminal
from babar_tls.diagnostics.counts import count

WORDS = st.sampled_from(
    ["ECDHE-RSA-AES256-GCM-SHA384", "tls-server-end-point", "of", "the", "a-b", "字字", "é", "x" * 64]
)
TEXTS = st.lists(WORDS, min_size=1, max_size=6).map(" ".join)
WIDTHS = st.integers(min_value=40, max_value=120)
TERMINALS = pytest.mark.parametrize("kind", [Terminal, RichTerminal])


def printed(kind: type[Terminal], width: int, item: Any, *, is_unicode: bool = True) -> list[str]:
    """Return the lines that a terminal prints for an item."""
    lines: list[str] = []

    class Recorder(kind):  # type: ignore[misc, valid-type] # the class is a parameter
        def _emit(self, line: list[tuple[str, str]]) -> None:
            lines.append("".join(text for text, _ in line).rstrip())

    Recorder(width, is_unicode=is_unicode).print(item)
    return lines


def fits(line: str, width: int) -> bool:
    """Return True if the line fits, or is one word that is longer: the terminal breaks it, and it can be copied."""
    return columns(line) <= width or len(line.split()) == 1


@given(text=TEXTS, width=WIDTHS, indent=st.integers(0, 10), hang=st.integers(0, 4))
def test_words_are_not_broken(text: str, width: int, indent: int, hang: int) -> None:
    lines = wrap(" " * indent + text, width, hang)
    assert all(fits(line, width) for line in lines)
    assert [word for line in lines for word in line.split()] == text.split()


@TERMINALS
@given(rows=st.lists(st.tuples(TEXTS, TEXTS, st.booleans(), TEXTS), min_size=1, max_size=5), width=WIDTHS)
def test_table_breaks_no_word(kind: type[Terminal], rows: list[tuple[str, str, bool, str]], width: int) -> None:
    """A word that is too long for its column is printed below the table."""
    console = kind(width, is_unicode=True)
    cells = [[first, second, console.verdict(good, third)] for first, second, good, third in rows]
    lines = printed(kind, width, console.table(cells, ["first", "second", "third"], "title"))
    assert all(fits(line, width) for line in lines)
    found = " ".join(lines).replace("│", " ").split()
    for row in rows:
        for text in (row[0], row[1], row[3]):
            for word in text.split():
                assert word in found
    assert lines[0] == "title"


@TERMINALS
@pytest.mark.parametrize("is_unicode", [True, False])
def test_long_value_follows_the_facts(kind: type[Terminal], is_unicode: bool) -> None:
    path = "/a/file/" + "x" * 60
    console = kind(70, is_unicode=is_unicode)
    lines = printed(
        kind, 70, console.facts([("Root", path), ("TLS", console.verdict(True, "yes"))]), is_unicode=is_unicode
    )
    assert "Root:" in lines
    assert f"  {path}" in lines
    assert any("TLS" in line and ("✓ yes" if is_unicode else "+ yes") in line for line in lines)


@TERMINALS
def test_table_without_rows_or_columns_is_printed(kind: type[Terminal]) -> None:
    for rows in ([], [[]], [[], []]):
        assert printed(kind, 80, Table(rows, title="0 rows"))[0] == "0 rows"


def test_many_rows_are_laid_out_in_time() -> None:
    """The time does not grow with the square of the number of rows."""
    console = Terminal(80, is_unicode=True)
    rows = [["x" * (index % 200), "y" * (index % 90)] for index in range(20_000)]
    assert printed(Terminal, 80, console.table(rows))


@TERMINALS
def test_control_characters_are_escaped(kind: type[Terminal]) -> None:
    console = kind(80, is_unicode=True)
    for item in (
        console.cell("a\x1b[2J\nb"),
        console.lines(["a\x1b[2J\nb"]),
        console.verdict(True, "a\x1b[2J\nb"),
        console.table([["a\x1b[2J\nb"]], ["\x1b"], "\x1b"),
    ):
        text = "\n".join(printed(kind, 80, item))
        assert "\x1b" not in text
        assert "a\\x1b[2J\\nb" in text


def test_verdict_that_fills_a_line_is_not_broken() -> None:
    console = Terminal(40, is_unicode=True)
    verdict = console.verdict(False, "x" * 40)
    assert narrowest(verdict) == 42
    assert printed(Terminal, 40, verdict) == ["✗", "x" * 40]


@pytest.mark.parametrize(
    ("number", "arguments", "text"),
    [
        (0, ("row",), "0 rows"),
        (1, ("row",), "1 row"),
        (2, ("row",), "2 rows"),
        (1, ("entry", "entries"), "1 entry"),
        (2, ("entry", "entries"), "2 entries"),
    ],
)
def test_count_has_singular_and_plural(number: int, arguments: tuple[str, ...], text: str) -> None:
    assert count(number, *arguments) == text
