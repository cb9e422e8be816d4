"""The suites: what of them runs, on which server, and how many tests must pass."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from babar_tls.testing import Role

#: True for all files of the suites (`make drivers`); otherwise the files in `Suite.quick`.
WHOLE = os.environ.get("BABAR_TLS_EXHAUSTIVE") == "1"
#: The TLS backend of babar-tls.
BACKEND = os.environ.get("BABAR_TLS_BACKEND") or "stdlib"


@dataclass(frozen=True)
class Suite:
    """A suite of a driver.

    Attributes:
        name: Its name in ``differences.toml``.
        sdist: The distribution that contains it.
        members: What to unpack.
        plugin: The module in ``plugins`` that connects it.
        whole: Arguments of pytest: the files of the whole suite.
        quick: The same for `make test`.
        left_out: Arguments of pytest: what neither runs, because it does not depend on the connection.
        minimum: The numbers of tests that must pass on each side: quick, whole.
        connects: The numbers of connections that each side must open, without bypasses: quick, whole.
        import_mode: As pytest's option of this name.
        pytest_plugins: Plugins of pytest that the suite needs.
        environment: Environment variables.
        parameters: For the plugin.
        server: Arguments of `PostgresServer`.
        sql: What to run before the suite, by database.
    """

    name: str
    sdist: str
    members: tuple[str, ...]
    plugin: str
    whole: tuple[str, ...]
    quick: tuple[str, ...]
    minimum: tuple[int, int]
    connects: tuple[int, int]
    left_out: tuple[str, ...] = ()
    import_mode: str = "prepend"
    pytest_plugins: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    server: dict[str, Any] = field(default_factory=dict)
    sql: dict[str, str] = field(default_factory=dict)

    @property
    def files(self) -> tuple[str, ...]:
        """The files and folders to run."""
        return self.whole if WHOLE else self.quick


def _asyncpg(name: str, quick: tuple[str, ...], minimum: int, connects: int, **environment: str) -> Suite:
    return Suite(
        name,
        "asyncpg",
        ("tests", "pyproject.toml"),
        "connect_asyncpg",
        whole=("tests",),
        quick=tuple(f"tests/test_{module}.py" for module in quick),
        # They check the source code, the build and the installed requirements.
        left_out=("--ignore-glob=*/test__*.py", "--ignore=tests/test_subinterpreters.py"),
        minimum=(minimum, 300),
        connects=(connects, 850),
        import_mode="importlib",
        environment=environment,
    )


def _sqlalchemy(driver: str, minimum: int) -> Suite:
    return Suite(
        f"sqlalchemy-{driver}",
        "sqlalchemy",
        ("test", "setup.cfg", "pyproject.toml", "lib/sqlalchemy/testing/plugin"),
        "connect_sqlalchemy",
        whole=(
            "test/dialect/test_suite.py",
            "test/dialect/postgresql/test_async_pg.py",
            "test/dialect/postgresql/test_dialect.py",
            "test/dialect/postgresql/test_on_conflict.py",
            "test/dialect/postgresql/test_query.py",
            "test/dialect/postgresql/test_reflection.py",
            "test/dialect/postgresql/test_types.py",
            "test/engine/test_reconnect.py",
            "test/engine/test_transaction.py",
            "test/sql/test_query.py",
            "test/sql/test_types.py",
        ),
        quick=(
            "test/dialect/postgresql/test_async_pg.py",
            "test/dialect/postgresql/test_dialect.py",
            "test/dialect/postgresql/test_query.py",
        ),
        minimum=(120, minimum),
        connects=(0, 0),
        environment={"PYTHONNOUSERSITE": "1"},  # otherwise its conftest.py looks for SQLAlchemy in the sdist
        parameters={"driver": driver},
        server={
            "settings": {"max_prepared_transactions": "10", "default_text_search_config": "pg_catalog.english"},
            "roles": {"scott": Role("tiger", superuser=True)},
            "databases": ["test"],
        },
        sql={"test": "CREATE SCHEMA test_schema; CREATE SCHEMA test_schema_2"},
    )


SUITES = (
    _asyncpg(
        "asyncpg",
        ("cancellation", "cursor", "exceptions", "execute", "listeners", "timeout", "transaction"),
        70,
        120,
    ),
    _asyncpg("asyncpg-uvloop", ("cancellation", "cursor", "listeners", "timeout"), 40, 95, USE_UVLOOP="1"),
    Suite(
        "pg8000",
        "pg8000",
        ("test",),
        "connect_pg8000",
        whole=("test/native", "test/dbapi", "test/legacy"),
        quick=(
            "test/native/test_connection.py",
            "test/dbapi/test_connection.py",
            "test/dbapi/test_dbapi.py",
            "test/legacy/test_connection.py",
        ),
        left_out=("--ignore-glob=*/test_benchmarks.py",),
        pytest_plugins=("pytest_mock",),
        minimum=(75, 620),
        connects=(95, 550),
    ),
    _sqlalchemy("asyncpg", 11000),
    _sqlalchemy("pg8000", 11000),
)
