"""Fixtures: the example, installed in a folder."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from .installation import EXAMPLE

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the example and its metadata.

    It is built from a copy, because the build writes to the sources.
    """
    if find_spec("setuptools") is None:
        pytest.skip("setuptools, which builds the example, is not installed")
    try:
        ctypes.CDLL("libgnutls.so.30")
    except OSError:
        pytest.skip("GnuTLS is not installed: libgnutls.so.30")
    folder = tmp_path_factory.mktemp("example")
    source, target = folder / "source", folder / "site"
    for path in (*EXAMPLE.glob("*.*"), *EXAMPLE.glob("babar_tls_gnutls/*.py*")):
        if path.is_file():
            copy = source / path.relative_to(EXAMPLE)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    target.mkdir()
    build = ["-c", "from setuptools import setup; setup()", "-q", "build_py", "--build-lib", str(target)]
    command = [sys.executable, *build, "egg_info", "--egg-base", str(target)]  # a wheel would need another package
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)  # noqa: S603 - this Python
    assert done.returncode == 0, done.stderr
    return target
