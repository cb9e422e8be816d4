"""Fixtures: the example, installed in a folder, and tokens for it."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .installation import EXAMPLE
from .token_world import MODULES, World, make_token

if TYPE_CHECKING:
    from collections.abc import Iterator


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


@pytest.fixture(scope="session")
def world(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Yield a server and a folder with tokens. No test may leave a token changed."""
    from babar_tls.testing import CertificateAuthority, PostgresServer  # requires cryptography

    module = next(filter(Path.exists, MODULES), None)
    if module is None or shutil.which("softhsm2-util") is None or shutil.which("p11tool") is None:
        text = "needs SoftHSM and p11tool (Debian: softhsm2, gnutls-bin)"
        if os.environ.get("BABAR_TLS_TEST_SOFTHSM") == "require":
            pytest.fail(text)
        pytest.skip(text)
    folder = tmp_path_factory.mktemp("token")
    clients = CertificateAuthority()
    environment = make_token(folder, module, clients)
    with PostgresServer(
        roles={"app": None},
        hba=["hostssl all all all cert"],
        settings={"ssl_ca_file": "clients.crt"},
        files={"clients.crt": clients.root_pem},
    ) as server:
        yield World(server, folder, environment, installed)
