"""The Django project in `examples/django` connects with the security of its `Config`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from babar_tls.testing import CertificateAuthority

if TYPE_CHECKING:
    from babar_tls.testing import PostgresServer

pytest.importorskip("django", reason="the example is a Django project: pip install django")
pytest.importorskip("psycopg", reason="Django connects through psycopg: pip install psycopg[binary]")

EXAMPLE = Path(__file__).parents[2] / "examples" / "django"

pytestmark = pytest.mark.skipif(not EXAMPLE.is_dir(), reason="the examples are not part of this distribution")

SHOW_CONNECTION = """
import json
from django.db import connection
with connection.cursor() as cursor:
    cursor.execute("select ssl, current_user, current_database() from pg_stat_ssl where pid = pg_backend_pid()")
    print(json.dumps(cursor.fetchone()))
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Copy the project, so that no bytecode is written into the checkout."""
    return Path(shutil.copytree(EXAMPLE, tmp_path / "project"))


def manage(project: Path, url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the project in an environment without PG* variables and default files."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return subprocess.run(  # noqa: S603 - the example
        [sys.executable, "manage.py", *arguments],
        cwd=project,
        env={**environment, "DATABASE_URL": url, "HOME": str(project)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_django_connects_with_tls(tls_server: PostgresServer, project: Path) -> None:
    """The migrations and the tests of the project run; the tests have a database of their own."""
    url = tls_server.conninfo()
    for arguments in (["check", "--database", "default"], ["migrate"], ["test"]):
        done = manage(project, url, *arguments)
        assert done.returncode == 0, done.stderr
    done = manage(project, url, "shell", "--command", SHOW_CONNECTION)
    assert json.loads(done.stdout.splitlines()[-1]) == [True, "postgres", "postgres"], done.stderr


def test_django_refuses_the_certificate_of_another_ca(tls_server: PostgresServer, project: Path) -> None:
    CertificateAuthority().write(project / "other.pem")
    done = manage(project, tls_server.conninfo(sslrootcert=str(project / "other.pem")), "migrate")
    assert done.returncode != 0
    assert "certificate verify failed" in done.stderr
