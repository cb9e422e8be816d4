"""The layout of `--help`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from babar_tls.cli import main
from babar_tls.cli._arguments import COMMANDS
from babar_tls.cli._help import HelpFormatter, paragraphs

if TYPE_CHECKING:
    from collections.abc import Callable

HELPS = pytest.mark.parametrize("arguments", [["--help"], *([command, "--help"] for command in COMMANDS)], ids=" ".join)


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return a function that returns the help at a width."""

    def run(width: int, *arguments: str) -> str:
        monkeypatch.setenv("COLUMNS", str(width))
        assert main(list(arguments)) == 0
        return capsys.readouterr().out

    return run


@HELPS
def test_help_fits_80_columns_and_breaks_no_word(shown: Callable[..., str], arguments: list[str]) -> None:
    narrow, wide = shown(80, *arguments), shown(300, *arguments)
    assert max(map(len, narrow.splitlines())) <= 80
    assert narrow.split() == wide.split()


@HELPS
def test_help_uses_the_width_of_the_terminal(shown: Callable[..., str], arguments: list[str]) -> None:
    lines = shown(130, *arguments).splitlines()
    assert max(map(len, lines)) <= 130
    assert len(shown(60, *arguments).splitlines()) > len(lines)


@HELPS
def test_each_example_is_one_line(shown: Callable[..., str], arguments: list[str]) -> None:
    examples = shown(80, *arguments).partition("\nexamples:\n")[2].partition("\n\n")[0].splitlines()
    for example in examples:
        assert re.match(r"  (?:\S+ \| |\S+=\S+ )?babar-tls ", example), example
        assert example.count('"') % 2 == 0


@given(text=st.text(st.sampled_from("ab- \n%"), max_size=80), width=st.integers(30, 120))
def test_formatter_keeps_every_word(text: str, width: int) -> None:
    formatter = HelpFormatter("prog", width=width)
    formatter.add_text(text)
    assert formatter.format_help().split() == text.split()


def test_paragraphs_are_joined_and_lists_are_kept() -> None:
    text = "one\ntwo\n\nexamples:\n  a b\n  c d\n"
    assert paragraphs(text) == [["one two"], ["examples:", "  a b", "  c d"]]
