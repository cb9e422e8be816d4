"""The place of the example, and a Python process in which it is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import babar_tls

if TYPE_CHECKING:
    from collections.abc import Mapping

EXAMPLE = Path(__file__).parents[2] / "examples" / "babar-tls-gnutls"

needs_example = pytest.mark.skipif(not EXAMPLE.is_dir(), reason="the examples are not part of this distribution")


def run(site: Path, code: str, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """Run code in a Python with the example installed, and return the output."""
    head = f"import sys; sys.path[:0] = [{str(site)!r}, {str(Path(babar_tls.__file__).parents[1])!r}]\n"
    command = [sys.executable, "-W", "error", "-c", head + code, *arguments]
    env = {**os.environ, **(environment or {})}
    done = subprocess.run(  # noqa: S603 - this Python
        command, capture_output=True, text=True, check=False, timeout=100, env=env
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout
