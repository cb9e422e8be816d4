"""Pictures are pictures, in both formats, of everything that can be seen in a document."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest

from babar_tls.bench import WORKLOADS
from babar_tls.bench.plots import FORMATS, draw
from babar_tls.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from .documents import Documents


@pytest.mark.parametrize("workload", WORKLOADS)
def test_pictures(documents: Documents, tmp_path: Path, workload: str) -> None:
    """Every workload has pictures, each a PNG and an SVG that can be read."""
    pytest.importorskip("matplotlib")
    paths = draw(documents[workload], tmp_path / "pictures")
    assert {path.suffix[1:] for path in paths} == set(FORMATS)
    assert sorted(paths) == sorted((tmp_path / "pictures").iterdir())
    for path in paths:
        assert path.name.startswith(f"{workload}-")
        if path.suffix == ".png":
            assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
        else:
            assert ElementTree.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314 - our own


def test_what_there_is_of_connect(documents: Documents, tmp_path: Path) -> None:
    """Of connects there are bars by either clock, distributions, and the phases, for each distance."""
    pytest.importorskip("matplotlib")
    names = {path.stem for path in draw(documents["connect"], tmp_path)}
    near = {"connect-wall", "connect-cpu", "connect-latency", "connect-phases"}
    assert names == near | {f"{name}-1ms" for name in near}


def test_overview(documents: Documents, tmp_path: Path) -> None:
    """Of an overview, the documents in it are drawn."""
    pytest.importorskip("matplotlib")
    assert {path.name.partition("-")[0] for path in draw(documents["all"], tmp_path)} == set(WORKLOADS)


def test_nowhere_to_write(documents: Documents, tmp_path: Path) -> None:
    """A folder that cannot be made is our error."""
    pytest.importorskip("matplotlib")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="pictures cannot be written"):
        draw(documents["kdf"], tmp_path / "file" / "folder")


def test_without_matplotlib(documents: Documents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without matplotlib the error says how to get it."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'babar-tls\[bench\]'"):
        draw(documents["kdf"], tmp_path)
