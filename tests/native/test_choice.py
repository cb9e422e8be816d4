"""The selected implementation: by default, with BABAR_TLS_NATIVE, and without the extension."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from . import helper as _built  # noqa: F401 - without it there is nothing to choose from

PRINT = (
    "from babar_tls import crypto; "
    "print(crypto.implementation(), crypto.pbkdf2_hmac_sha256(b'passwd', b'salt', 1).hex())"
)
KEY = "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"
MISSING = "import sys; sys.modules['babar_tls._native._babar_native'] = None\n"


def run(program: str, wanted: str | None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "BABAR_TLS_NATIVE"}
    if wanted is not None:
        environment["BABAR_TLS_NATIVE"] = wanted
    return subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-I", "-c", program], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("wanted", ["0", "hashlib", "portable", " Portable ", "sha-ni", "armv8"])
def test_variable_selects_the_implementation_or_is_an_error(wanted: str, helper: Any) -> None:
    name = "hashlib" if wanted == "0" else wanted.strip().lower()
    done = run(PRINT, wanted)
    if name == "hashlib" or helper.kernels().get(name):
        assert done.stdout.split() == [name, KEY], done.stderr
    else:
        assert done.returncode != 0
        assert f"ConfigError: BABAR_TLS_NATIVE={name} is not available on this machine" in done.stderr


def test_unknown_implementation_is_a_config_error() -> None:
    done = run(PRINT, "nonsense")
    assert done.returncode != 0
    assert "ConfigError: BABAR_TLS_NATIVE=nonsense is not available on this machine" in done.stderr
    assert "portable, hashlib" in done.stderr


def test_default_is_sha_instructions_or_hashlib(helper: Any) -> None:
    """Portable C is slower than hashlib."""
    best = next(name for name, capable in helper.kernels().items() if capable)
    assert run(PRINT, None).stdout.split() == ["hashlib" if best == "portable" else best, KEY]


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="no /proc/cpuinfo to ask about the CPU")
def test_sha_instructions_are_found_and_used(helper: Any) -> None:
    """If and only if the operating system reports them."""
    words = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    assert helper.kernels().get("sha-ni", False) == ("sha_ni" in words)
    assert helper.kernels().get("armv8", False) == ("sha2" in words)
    assert (run(PRINT, None).stdout.split()[0] != "hashlib") == bool(words & {"sha_ni", "sha2"})


def test_without_the_extension_hashlib_is_used() -> None:
    """The reason is available."""
    done = run(MISSING + PRINT + "; from babar_tls import _native; print(bool(_native.PROBLEM))", None)
    assert done.stdout.split() == ["hashlib", KEY, "True"], done.stderr


def test_kernel_without_the_extension_is_a_config_error() -> None:
    done = run(MISSING + PRINT, "portable")
    assert done.returncode != 0
    assert "ConfigError: BABAR_TLS_NATIVE=portable, but the compiled helper cannot be loaded" in done.stderr
