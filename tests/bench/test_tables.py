"""Tables of saved documents, on a terminal and in Markdown."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("rich")

from babar_tls.bench.workloads.all import WORKLOADS
from babar_tls.cli import main

if TYPE_CHECKING:
    from pathlib import Path

    from .document_cache import DocumentCache


@pytest.fixture
def saved(documents: DocumentCache, tmp_path: Path, request: pytest.FixtureRequest) -> tuple[str, str]:
    """Return a workload and the path of its document."""
    path = tmp_path / "document.json"
    path.write_text(json.dumps(documents[request.param]))
    return request.param, str(path)


@pytest.mark.parametrize("saved", WORKLOADS, indirect=True)
def test_tables_fit_into_a_hundred_columns(
    saved: tuple[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert main(["bench", saved[0], "--from", saved[1]]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "…" not in out
    assert max(map(len, out.splitlines())) <= 100


@pytest.mark.parametrize("saved", WORKLOADS, indirect=True)
def test_markdown_rows_have_as_many_cells_as_the_heading(
    saved: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The document of all workloads is written between the marks of each workload."""
    names = [saved[0]] if saved[0] != "all" else list(WORKLOADS)
    page = tmp_path / "page.md"
    page.write_text("".join(f"<!-- bench {name} -->\n<!-- end of {name} -->\n" for name in names))
    assert main(["bench", saved[0], "--from", saved[1], "--markdown", str(page)]) == 0
    assert all(f"written: {name} in" in re.sub(r"\s+", " ", capsys.readouterr().out) for name in names[:1])
    text = page.read_text()
    for name in names:
        tables = text.partition(f"<!-- bench {name} -->\n")[2].partition(f"<!-- end of {name} -->")[0]
        found = re.findall(r"(?:^\|.*\n)+", tables, re.MULTILINE)
        assert found
        for table in found:
            cells = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
            assert len(cells) == 1
