"""The example of an engine is a package of its own: installed beside babar-tls it is found, passes, and logs in."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import babar_tls
from babar_tls.testing import PostgresServer

HANDSHAKES = 1000 if os.environ.get("BABAR_TLS_EXHAUSTIVE") == "1" else 200
EXAMPLE = Path(__file__).parents[2] / "examples" / "babar-tls-gnutls"

pytestmark = pytest.mark.skipif(not EXAMPLE.is_dir(), reason="the examples are not part of this distribution")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example and its metadata, built from a copy of its sources: building writes beside them."""
    if find_spec("setuptools") is None:
        pytest.skip("setuptools, which builds the example, is not installed")
    try:
        ctypes.CDLL("libgnutls.so.30")
    except OSError:
        pytest.skip("GnuTLS is not installed: libgnutls.so.30")
    folder = tmp_path_factory.mktemp("example")
    source, target = folder / "source", folder / "site"
    for path in (*EXAMPLE.glob("*.*"), *EXAMPLE.glob("babar_tls_gnutls/*.py")):
        copy = source / path.relative_to(EXAMPLE)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    target.mkdir()
    build = ["-c", "from setuptools import setup; setup()", "-q", "build_py", "--build-lib", str(target)]
    command = [sys.executable, *build, "egg_info", "--egg-base", str(target)]  # a wheel would need another package
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)  # noqa: S603 - this Python
    assert done.returncode == 0, done.stderr
    return target


def run(site: Path, code: str, *arguments: str) -> str:
    """What a Python that has the example prints."""
    head = f"import sys; sys.path[:0] = [{str(site)!r}, {str(Path(babar_tls.__file__).parents[1])!r}]\n"
    command = [sys.executable, "-W", "error", "-c", head + code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - this Python
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def test_it_is_found(installed: Path) -> None:
    """The entry point alone makes it an engine, which is imported when it is asked for."""
    code = """if True:
        from babar_tls.backends import available_backends, backend_names
        assert "gnutls" in backend_names()
        assert "babar_tls_gnutls" not in sys.modules
        print(*available_backends())
    """
    assert "gnutls" in run(installed, code).split()


def test_it_passes(installed: Path) -> None:
    """Every check passes, except those that do not apply to its capabilities or to its kind of backend."""
    code = f"""if True:
        from babar_tls.testing import CheckOutcome, check_backend
        report = check_backend("gnutls", handshakes={HANDSHAKES})
        assert report.version.startswith("GnuTLS 3.")
        print(*[each.name for each in report.results if each.outcome is CheckOutcome.NOT_APPLICABLE])
    """
    assert set(run(installed, code).split()) <= {
        "handshake.groups",
        "handshake.ciphers",
        "facts.no_exporter",
        "files.revocation",
        "files.revocation_files",
        "files.key_log",
        "files.key_log_path",
        "keys.renegotiation",  # where pyOpenSSL is not installed
    }


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_it_logs_in(installed: Path, version: str) -> None:
    """A real PostgreSQL lets it in with SCRAM bound to the channel."""
    code = """if True:
        import json
        from babar_tls import Config, Session
        config = Config(**json.loads(sys.argv[1]), tls_backend="gnutls", channel_binding="require")
        with Session.connect(config) as session:
            print(json.dumps([session.security.tls_version, session.security.channel_binding_type]))
    """
    with PostgresServer(roles={"app": "secret"}) as server:
        options = {
            "host": server.host,
            "port": server.port,
            "user": "app",
            "password": "secret",
            "database": "postgres",
            "tls_root_cert_path": str(server.root_cert_path),
            "tls_min_version": version,
            "tls_max_version": version,
        }
        told = json.loads(run(installed, code, json.dumps(options)))
    assert told == [version, "tls-server-end-point"]


def test_an_absent_library_is_told(tmp_path: Path) -> None:
    """Where GnuTLS is missing the engine is absent, and the error says why."""
    code = f"""if True:
        sys.path.insert(0, {str(EXAMPLE)!r})
        import ctypes
        def missing(name):
            raise OSError(f"{{name}}: cannot open shared object file")
        ctypes.CDLL = missing
        try:
            import babar_tls_gnutls
        except ImportError as exc:
            print(exc)
    """
    found = run(tmp_path, "sys.dont_write_bytecode = True\n" + code)
    assert found == "GnuTLS is not installed: libgnutls.so.30: cannot open shared object file\n"
