"""``babar-tls doctor --html FILE``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from babar_tls.cli import main

from .html_document import Document

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

CONNINFO = "host=db.example.com password=secret-password sslmode=bogus"


def test_command_writes_the_report_to_a_new_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "report.html"
    assert main(["doctor", CONNINFO, "--html", str(file)]) == 2
    assert f"The report is in {file}." in " ".join(capsys.readouterr().out.split())
    document = Document(file.read_text(encoding="utf-8"))
    assert "Cause: invalid-configuration; stage Configuration." in document.text
    assert "secret-password" not in document.text


def test_command_replaces_no_file(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text("another file", encoding="utf-8")
    assert main(["doctor", CONNINFO, "--html", str(file)]) == 2
    assert file.read_text(encoding="utf-8") == "another file"
