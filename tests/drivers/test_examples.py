"""The examples run."""

from __future__ import annotations

import asyncio
import importlib.util
import io
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("sqlalchemy", reason="needs the extra sqlalchemy")
pytest.importorskip("asyncpg", reason="needs the extra asyncpg")
pytest.importorskip("pg8000", reason="needs the extra pg8000")

import babar_tls.integrations.sqlalchemy  # noqa: F401 - registers the dialects if the package is not installed

if TYPE_CHECKING:
    from types import ModuleType

    from babar_tls.testing import PostgresServer

EXAMPLES = Path(__file__).parents[2] / "examples"

pytestmark = [
    pytest.mark.skipif(not EXAMPLES.exists(), reason="needs the folder examples of the sources"),
    pytest.mark.filterwarnings("default::DeprecationWarning"),  # of frameworks, about each other
]


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{path.parent.name}_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def database(server: PostgresServer) -> str:
    """Create a database for the role `app`, and return the part of its URL after the scheme."""
    server.sql("create database shop owner app")
    return (
        f"://app:secret@{server.host}:{server.port}/shop"
        f"?sslmode=verify-full&sslrootcert={server.root_cert_path}&channel_binding=require"
    )


def test_neon_url(server: PostgresServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"postgresql://app:secret@localhost:{server.port}/postgres?sslmode=require&channel_binding=require"
    monkeypatch.setenv("DATABASE_URL", url)
    runpy.run_path(str(EXAMPLES / "neon_url.py"), run_name="__main__")
    assert capsys.readouterr().out.splitlines() == [
        "asyncpg: app TLSv1.3 scram-sha-256-plus",
        "SQLAlchemy: app TLSv1.3 scram-sha-256-plus",
    ]


def test_flask_sqlalchemy(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("flask_sqlalchemy", reason="needs flask-sqlalchemy")
    monkeypatch.setenv("DATABASE_URL", "postgresql+babar" + database)
    example: Any = load(EXAMPLES / "flask_sqlalchemy" / "app.py")
    app = example.create_app()
    client = app.test_client()
    assert client.post("/notes", json={"text": "first"}).status_code == 201
    assert client.get("/notes").json == ["first"]
    assert client.get("/security").json["verified"] == "full"
    with app.app_context():
        example.db.engine.dispose()


def test_fastapi_asyncpg(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fastapi", reason="needs fastapi")
    httpx = pytest.importorskip("httpx", reason="needs httpx")
    monkeypatch.setenv("DATABASE_URL", "postgresql" + database)
    example: Any = load(EXAMPLES / "fastapi_asyncpg" / "app.py")

    async def main() -> None:
        transport = httpx.ASGITransport(app=example.app)
        async with (
            example.lifespan(example.app),
            httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
        ):
            assert (await client.get("/add/40/2")).json() == 42
            assert (await client.get("/security")).json()["auth_method"] == "scram-sha-256-plus"

    asyncio.run(main())


def test_sqlalchemy_alembic(database: str, tmp_path: Path) -> None:
    pytest.importorskip("alembic", reason="needs alembic")
    from alembic import command
    from alembic.config import Config

    url = "postgresql+babar" + database
    folder = tmp_path / "example"
    shutil.copytree(EXAMPLES / "sqlalchemy_alembic", folder, ignore=shutil.ignore_patterns("__pycache__"))
    settings = folder / "alembic.ini"
    lines = settings.read_text().splitlines()
    assert lines[-1].startswith("sqlalchemy.url = postgresql+babar://")
    settings.write_text("\n".join([*lines[:-1], "sqlalchemy.url = " + url.replace("%", "%%")]))
    command.upgrade(Config(settings), "head")
    example: Any = load(folder / "models.py")
    assert asyncio.run(example.main(url)) == 1
    command.downgrade(Config(settings), "base")


def run_alembic(*arguments: str) -> None:
    # The import registers the dialects if the package is not installed.
    program = "import babar_tls.integrations.sqlalchemy; from alembic.config import main; main()"
    done = subprocess.run(  # noqa: S603 - our own arguments
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("template", ["generic", "async"])
def test_alembic_templates_with_doubled_percent_signs(server: PostgresServer, tmp_path: Path, template: str) -> None:
    pytest.importorskip("alembic", reason="needs alembic")
    from alembic import command
    from alembic.config import Config

    password = "50%/a@b"
    server.add_role(f"migrator_{template}", password)
    settings = tmp_path / "alembic.ini"
    command.init(Config(settings, stdout=io.StringIO()), str(tmp_path / "migrations"), template=template)
    url = (
        f"postgresql+babar://migrator_{template}:50%25%2Fa%40b@{server.host}:{server.port}/postgres"
        f"?sslmode=verify-full&sslrootcert={server.root_cert_path}"
    )
    text = settings.read_text()
    lines = [
        "sqlalchemy.url = " + url.replace("%", "%%") if line.startswith("sqlalchemy.url") else line
        for line in text.splitlines()
    ]
    settings.write_text("\n".join(lines))
    server.sql(f"create schema migrator_{template} authorization migrator_{template}")
    # The template's env.py disables all loggers of its process.
    for arguments in (["revision", "-m", "first", "--rev-id", "0001"], ["upgrade", "head"]):
        run_alembic("-c", str(settings), *arguments)
    assert server.sql(f"select version_num from migrator_{template}.alembic_version") == "0001"
