"""Pictures of documents, in both formats."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest

from babar_tls.bench.plots import FORMATS, draw
from babar_tls.bench.workloads.all import WORKLOADS
from babar_tls.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from .document_cache import DocumentCache


@pytest.mark.parametrize("workload", sorted(WORKLOADS.keys() - {"all"}))
def test_workload_has_pictures_in_both_formats(documents: DocumentCache, tmp_path: Path, workload: str) -> None:
    pytest.importorskip("matplotlib")
    paths = draw(documents[workload], tmp_path / "pictures")
    assert {path.suffix[1:] for path in paths} == set(FORMATS)
    assert sorted(paths) == sorted((tmp_path / "pictures").iterdir())
    for path in paths:
        assert path.name.startswith(f"{workload}-")
        if path.suffix == ".png":
            assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
        else:
            assert ElementTree.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314 - written by the test


def test_connect_has_bars_distributions_and_phases_for_each_distance(documents: DocumentCache, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    names = {path.stem for path in draw(documents["connect"], tmp_path)}
    near = {"connect-wall", "connect-cpu", "connect-latency", "connect-phases"}
    assert names == near | {f"{name}-1ms" for name in near}


def test_all_draws_its_inner_documents(documents: DocumentCache, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert {path.name.partition("-")[0] for path in draw(documents["all"], tmp_path)} == WORKLOADS.keys() - {"all"}


def test_folder_that_cannot_be_created_is_an_error(documents: DocumentCache, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="pictures cannot be written"):
        draw(documents["kdf"], tmp_path / "file" / "folder")


def test_missing_matplotlib_is_an_error_with_a_remedy(
    documents: DocumentCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'babar-tls\[bench\]'"):
        draw(documents["kdf"], tmp_path)
