"""The cost of a connect in reproducible counts: system calls, Python calls, memory, instructions.

Times are not reproducible on a shared machine. A change that increases a count must be intentional.
"""

from __future__ import annotations

import gc
import json
import os
import re
import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls import Session

pytest.importorskip("cryptography")

from babar_tls.testing import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from babar_tls import Config

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
NATIVE = ROOT / "babar_tls" / "_native"
#: The maximum for a connect, with the blocking driver, `stdlib` and cached SCRAM keys, without direct TLS.
SYSTEM_CALLS = 16  # except reads
READS = 8  # one for each flight of the server, and more if a flight arrives in pieces, as on a busy machine
PYTHON_CALLS = 860
PEAK_BYTES = 260_000
LEFT_BYTES = 64  # memory that a closed connection leaves allocated, as an average
#: A handshake of the protocol without TLS, including both ends of SCRAM and PBKDF2 with one iteration.
INSTRUCTIONS = 1_150_000
#: Instructions for two rounds of SHA-256, including sha256rnds2.
PER_TWO_ROUNDS = 5.5


only_python_3_11 = pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the limit is for CPython 3.11")


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer(roles={"app": "secret"}) as running:
        yield running


@pytest.fixture
def config(server: PostgresServer) -> Config:
    """Return a verified configuration with channel binding, after the caches have been filled."""
    found = server.config(user="app", password="secret", channel_binding="require")
    for _ in range(5):
        Session.connect(found).close()
    return found


def strace(*command: str, calls: Path) -> bool:
    """Run a command with strace. Return False if that is not permitted."""
    program = shutil.which("strace")
    if program is None:
        return False
    run = subprocess.run(  # noqa: S603 - a program that this test names
        [program, "-f", "-c", "-o", str(calls), *command],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    if run.returncode and "ptrace" in run.stderr:
        return False
    assert run.returncode == 0, run.stderr
    return True


def test_system_calls_of_a_connect_are_bounded(config: Config, tmp_path: Path) -> None:
    fields = {
        name: getattr(config, name)
        for name in ("host", "hostaddr", "port", "user", "database", "password", "tls_root_cert_path")
    }
    fields.update(tls_default_roots=False, channel_binding="require")
    counts = []
    for connects in (1, 20, 120):  # the first run writes bytecode and is not counted
        calls = tmp_path / f"{connects}.txt"
        if not strace(sys.executable, str(HERE / "connects.py"), json.dumps(fields), str(connects), calls=calls):
            pytest.skip("strace is not installed or not permitted")
        counts.append(_strace_table(calls.read_text()))
    _, few, many = counts
    each = {name: (count - few.get(name, 0)) / 100 for name, count in many.items()}
    # Memory calls depend on the interpreter, and interrupted waits on the machine.
    relevant = {
        name: count
        for name, count in each.items()
        if name not in ("brk", "mmap", "munmap", "futex", "restart_syscall", "getpid") and count >= 0.05
    }
    for name in ("socket", "connect"):
        assert relevant[name] == 1
    assert relevant["sendto"] == 5, (
        relevant
    )  # SSLRequest, two flights of TLS and SCRAM each, and Terminate with close_notify
    assert relevant.get("close") == 1
    assert relevant["recvfrom"] <= READS, relevant
    assert (
        sum(count for name, count in relevant.items() if name not in ("recvfrom", "poll", "ioctl")) <= SYSTEM_CALLS
    ), relevant


def _strace_table(text: str) -> dict[str, int]:
    rows = [line.split() for line in text.splitlines()[2:] if line[:1] != "-" and "total" not in line]
    return {row[-1]: int(row[3]) for row in rows}


@only_python_3_11
def test_python_calls_of_a_connect_are_bounded(config: Config) -> None:
    """The minimum of several counts is used, because a flight that arrives in pieces needs more calls."""
    least = min(_python_calls(config) for _ in range(5))
    assert 100 < least <= PYTHON_CALLS


def _python_calls(config: Config) -> int:
    calls = 0

    def count(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    gc.collect()
    gc.disable()  # a collection would run finalizers of other tests
    sys.setprofile(count)
    try:
        session = Session.connect(config)
    finally:
        sys.setprofile(None)
        gc.enable()
    session.close()
    return calls


def test_memory_of_a_connect_is_bounded_and_released(config: Config) -> None:
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        session = Session.connect(config)
        _, peak = tracemalloc.get_traced_memory()
        session.close()
        del session
        assert peak - before <= PEAK_BYTES
        for _ in range(10):
            Session.connect(config).close()
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(200):
            Session.connect(config).close()
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before <= 200 * LEFT_BYTES


def instructions(*command: str) -> int:
    """Return the number of instructions that a program executes, with callgrind."""
    program = shutil.which("valgrind")
    if program is None:
        pytest.skip("valgrind is not installed")
    run = subprocess.run(  # noqa: S603 - a program that this test names
        [program, "--tool=callgrind", "--callgrind-out-file=/dev/null", *command],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        # The first run compiles changed modules, and must not be counted.
        env={**os.environ, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert run.returncode == 0, run.stderr
    found = re.search(r"I\s+refs:\s+([\d,]+)", run.stderr)
    assert found is not None, run.stderr
    return int(found[1].replace(",", ""))


@only_python_3_11
def test_instructions_of_a_handshake_are_bounded() -> None:
    """From SSLRequest to ReadyForQuery, without TLS."""
    few, many = (instructions(sys.executable, "-m", "tests.guard.exchanges", count) for count in ("20", "60"))
    assert 100_000 < (many - few) / 40 <= INSTRUCTIONS


@pytest.fixture(scope="module")
def derive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile a program that only derives a key."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("a C compiler is not installed")
    program = tmp_path_factory.mktemp("guard") / "derive"
    sources = [str(path) for path in NATIVE.glob("*.c") if not path.name.startswith("_")]
    subprocess.run([compiler, "-O2", "-std=c99", str(HERE / "derive.c"), *sources, "-o", str(program)], check=True)  # noqa: S603 - a program that this test names
    return program


def test_portable_kernel_costs_two_compressions_per_iteration(derive: Path) -> None:
    counts = [instructions(str(derive), "portable", rounds) for rounds in ("1000", "2000", "3000")]
    assert counts[1] - counts[0] == counts[2] - counts[1]
    assert (counts[1] - counts[0]) / 1000 / 2 <= 6000


def test_sha_kernel_has_few_other_instructions(derive: Path) -> None:
    """The test counts them in the disassembly, because valgrind does not support the SHA instructions."""
    disassembler = shutil.which("objdump")
    if disassembler is None:
        pytest.skip("objdump is not installed")
    listing = subprocess.run(  # noqa: S603 - a program that this test names
        [disassembler, "-d", "--no-show-raw-insn", str(derive)], check=True, capture_output=True, text=True
    ).stdout
    body = re.search(r"<babar_pbkdf2_iterate_shani>:\n(.*?)\n\n", listing, re.DOTALL)
    if body is None:
        pytest.skip("this CPU has no SHA kernel")
    lines = body[1].splitlines()
    rounds = sum("sha256rnds2" in line for line in lines)
    assert rounds >= 64
    assert len(lines) / rounds <= PER_TWO_ROUNDS
