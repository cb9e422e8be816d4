"""No server, reaper or folder remains after a program ends, in any way."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import babar_tls
from babar_tls.testing import PostgresServer
from babar_tls.testing._processes import uninterrupted

ROOT = Path(babar_tls.__file__).parents[1]
DEADLINE = 60.0  # seconds; it bounds a failure, a success takes a fraction

# The process that runs the tests may ignore signals (nohup, a background job), and children inherit that.
PROGRAM = """
import json, os, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
from babar_tls.testing import PostgresServer
server = PostgresServer(tls=False, **json.loads(sys.argv[1]))
server.start()
facts = {
    "folder": str(server.data_dir.parent),
    "postmaster": int((server.data_dir / "postmaster.pid").read_text().split()[0]),
    "uid": os.getuid(),
    "answer": server.sql("select 6 * 7"),
}
print(json.dumps(facts), flush=True)
"""
ENDINGS = {
    "stop": "server.stop()",
    "forgotten": "pass",
    "exception": "raise KeyError",
    "sys.exit": "sys.exit(3)",
    "os._exit": "os._exit(3)",
    "abort": "os.abort()",
    "fork": "pid = os.fork()\nif not pid: sys.exit()\nos.waitpid(pid, 0)\nassert server.sql('select 1') == '1'",
    "wait": "time.sleep(600)",
}


def run(ending: str, interpreter: str = sys.executable, **popen: object) -> tuple[subprocess.Popen[str], dict]:
    options = popen.pop("options", {})
    process = subprocess.Popen(  # noqa: S603 - our own program
        [interpreter, "-W", "error", "-c", PROGRAM + ENDINGS[ending], json.dumps(options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        **popen,
    )
    line = process.stdout.readline()
    if not line:
        raise AssertionError(process.communicate()[1])
    return process, json.loads(line)


def remains(facts: dict) -> list[str]:
    """Return what is left of a server: its folder, and processes whose command line contains it."""
    found = [facts["folder"]] if Path(facts["folder"]).exists() else []
    for command_line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if facts["folder"].encode() in command_line.read_bytes():
                found.append(str(command_line))
        except OSError:
            continue
    return found


def wait_until_gone(facts: dict) -> None:
    deadline = time.monotonic() + DEADLINE
    while remains(facts) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert remains(facts) == []


@pytest.mark.parametrize(
    ("ending", "status"),
    [
        ("stop", 0),
        ("forgotten", 0),
        ("exception", 1),
        ("sys.exit", 3),
        ("fork", 0),
    ],
)
def test_nothing_remains_after_an_ordinary_exit(ending: str, status: int) -> None:
    """Everything is removed before the program has ended."""
    process, facts = run(ending)
    _, complaints = process.communicate(timeout=DEADLINE)
    assert process.returncode == status
    assert remains(facts) == []
    # In a forked child, `subprocess` itself warns of the parent's processes.
    assert ending == "fork" or "Warning" not in complaints
    assert facts["answer"] == "42"


@pytest.mark.parametrize("ending", ["os._exit", "abort"])
def test_nothing_remains_after_a_sudden_exit(ending: str) -> None:
    """The program cannot clean up, so the reaper does."""
    process, facts = run(ending)
    process.communicate(timeout=DEADLINE)
    wait_until_gone(facts)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_nothing_remains_after_a_signal(number: signal.Signals) -> None:
    """The signal reaches the whole process group, except the reaper and the server."""
    process, facts = run("wait", start_new_session=True)
    assert remains(facts)
    os.killpg(process.pid, number)
    process.communicate(timeout=DEADLINE)
    wait_until_gone(facts)


def test_nothing_remains_after_a_kill_during_initdb() -> None:
    program = (
        "import os, signal, threading\n"
        "from babar_tls.testing import PostgresServer, _processes\n"
        "watch = _processes.ReapedFolder.watch\n"
        "def watch_and_die(self, pid):\n"
        "    watch(self, pid)\n"
        "    print(self.path, flush=True)\n"
        "    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGKILL)).start()\n"
        "_processes.ReapedFolder.watch = watch_and_die\n"
        "PostgresServer(tls=False).start()\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - our own program
    assert done.returncode == -signal.SIGKILL
    wait_until_gone({"folder": done.stdout.strip()})


def test_ctrl_c_ends_the_program_and_then_the_server() -> None:
    """Ctrl-C in a terminal does not reach PostgreSQL and the reaper; the program cleans up."""
    process, facts = run("wait", start_new_session=True)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=DEADLINE)
    assert remains(facts) == []


def test_exception_in_the_with_block_stops_the_server() -> None:
    folders = []

    def fail(server: PostgresServer) -> None:
        folders.append(str(server.data_dir.parent))
        raise KeyError

    with pytest.raises(KeyError), PostgresServer(tls=False) as server:
        fail(server)
    assert remains({"folder": folders[0]}) == []


def test_stopping_one_server_does_not_affect_another() -> None:
    with PostgresServer(tls=False) as first:
        with PostgresServer(tls=False) as second:
            assert first.port != second.port
            assert first.password != second.password
        assert first.sql("select 1") == "1"


def unprivileged_python() -> tuple[str, pwd.struct_passwd]:
    """Return an interpreter that the account `nobody` can run with this checkout, or skip the test."""
    if os.geteuid() != 0:
        pytest.skip("only root can run a process as another account")
    nobody = pwd.getpwnam("nobody")
    for interpreter in filter(None, (sys.executable, shutil.which("python3", path="/usr/bin:/usr/local/bin"))):
        check = [interpreter, "-c", "import sys, babar_tls; assert sys.version_info >= (3, 11)"]
        try:
            options = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            if subprocess.run(check, cwd=ROOT, capture_output=True, check=False, **options).returncode == 0:  # noqa: S603 - a program that this test names
                return interpreter, nobody
        except OSError:
            continue
    pytest.skip("the account 'nobody' cannot run any Python with this checkout")


def test_server_of_an_unprivileged_user_is_cleaned_up() -> None:
    interpreter, nobody = unprivileged_python()
    with PostgresServer(tls=False) as server:
        bindir = server.bindir
    account = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    for ending in ("stop", "os._exit"):
        process, facts = run(ending, interpreter, options={"pg_bindir": str(bindir)}, **account)
        process.communicate(timeout=DEADLINE)
        wait_until_gone(facts)
        assert (facts["uid"], facts["answer"]) == (nobody.pw_uid, "42")


def test_interrupt_is_delayed_until_the_child_is_recorded() -> None:
    """Ctrl-C between the start of a process and its recording is delivered after both."""
    done = []
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.raises(KeyboardInterrupt), uninterrupted():  # noqa: PT012 - what comes after the interrupt is the point
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
        done.append("both")
    assert done == ["both"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)
