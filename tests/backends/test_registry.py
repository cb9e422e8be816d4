"""Backends are found by name, imported when they are used, and missing with a remedy."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls import BackendUnavailable, Config, Error
from babar_tls.backends import available_backends, backend_names, backend_status, get_backend
from babar_tls.backends.stdlib import StdlibBackend
from babar_tls.net.blocking import BlockingConnection
from babar_tls.net.deadline import Meter
from babar_tls.tls import registry

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use an empty registry."""
    monkeypatch.setattr(registry, "_instances", {})


def plugin(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, target: str, source: str) -> None:
    """Install a package with a backend, in the same form as pip."""
    info = folder / f"{name}_plugin-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-plugin\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[babar_tls.backends]\n{name} = {target}\n")
    (folder / f"{name}_plugin.py").write_text(source)
    monkeypatch.syspath_prepend(str(folder))


def test_only_the_backend_that_is_used_is_imported() -> None:
    program = """
import sys
import babar_tls, babar_tls.aio, babar_tls.session
from babar_tls.tls.connection import TlsConnection
from babar_tls.backends import TlsParameters, backend_names, get_backend
from babar_tls.config import TlsVerify
libraries = {"OpenSSL", "cryptography", "rtls", "_rtls"}
assert not libraries & set(sys.modules)
assert "babar_tls.backends.stdlib" not in sys.modules
backend_names()
TlsConnection(get_backend("stdlib"), TlsParameters(verify=TlsVerify.NONE), "localhost").do_handshake()
assert not libraries & set(sys.modules), libraries & set(sys.modules)
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=60)  # noqa: S603 - a program that this test names


def test_each_name_has_one_backend_object(backend: str) -> None:
    """Also if eight threads request it at the same time."""
    assert get_backend(backend) is get_backend(backend)
    assert get_backend(backend).name == backend
    registry._instances.pop(backend)
    barrier = threading.Barrier(8)
    found: list[object] = []

    def ask() -> None:
        barrier.wait()
        found.append(get_backend(backend))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, found))) == 1


@pytest.mark.parametrize("name", ["schannel", "", "Stdlib", "../stdlib"])
def test_unknown_name_is_an_error_that_lists_the_known_names(name: str) -> None:
    with pytest.raises(BackendUnavailable, match="unknown TLS backend") as caught:
        get_backend(name)
    assert isinstance(caught.value, ImportError)
    assert "stdlib" in (caught.value.remedy or "")
    with pytest.raises(BackendUnavailable):
        BlockingConnection(Config(tls_backend=name), Meter(None))


@pytest.mark.parametrize(
    ("backend", "missing"),
    [("openssl", "OpenSSL"), ("openssl", "cryptography"), ("rustls", "rtls")],
)
@pytest.mark.usefixtures("fresh")
def test_backend_without_its_package_is_unavailable_with_the_install_command(
    backend: str, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [name for name in sys.modules if name == missing or name.startswith(f"{missing}.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, missing, None)
    for module in [name for name in sys.modules if name.startswith(f"babar_tls.backends.{backend}")]:
        monkeypatch.delitem(sys.modules, module)
    with pytest.raises(BackendUnavailable, match=f"TLS backend '{backend}' cannot be used") as caught:
        get_backend(backend)
    assert caught.value.remedy == f"pip install 'babar-tls[{backend}]'"
    assert backend in backend_names()
    assert backend not in available_backends()
    assert "stdlib" in available_backends()
    (status,) = [item for item in backend_status() if item.name == backend]
    assert (status.capabilities, type(status.problem)) == (None, BackendUnavailable)


@pytest.mark.usefixtures("fresh")
def test_backend_of_an_entry_point_is_found_and_imported_when_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "from babar_tls.backends.stdlib import StdlibBackend\nclass Mine(StdlibBackend):\n    name = 'mine'\n"
    plugin(tmp_path, monkeypatch, "mine", "mine_plugin:Mine", source)
    assert "mine" in backend_names()
    assert "mine_plugin" not in sys.modules
    try:
        assert get_backend("mine").name == "mine"
        assert "mine" in available_backends()
    finally:
        sys.modules.pop("mine_plugin", None)


@pytest.mark.parametrize(
    ("target", "source", "text"),
    [
        ("broken_plugin:Mine", "import a_module_that_nobody_has\n", "a_module_that_nobody_has"),
        ("broken_plugin:Mine", "", "Mine"),
        ("broken_plugin:Mine", "Mine = dict\n", "it is a dict, not a TlsBackend"),
        ("no_such_module:Mine", "", "no_such_module"),
    ],
)
@pytest.mark.usefixtures("fresh")
def test_broken_entry_point_is_unavailable_and_others_are_listed(
    target: str, source: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin(tmp_path, monkeypatch, "broken", target, source)
    try:
        with pytest.raises(BackendUnavailable, match=text) as caught:
            get_backend("broken")
        assert caught.value.remedy
        assert "broken" not in available_backends()
        assert "stdlib" in available_backends()
    finally:
        sys.modules.pop("broken_plugin", None)


@pytest.mark.usefixtures("fresh")
def test_entry_point_cannot_replace_a_built_in_backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin(tmp_path, monkeypatch, "stdlib", "stdlib_plugin:Evil", "raise SystemExit\n")
    assert type(get_backend("stdlib")) is StdlibBackend
    assert backend_names().count("stdlib") == 1


def test_backend_object_is_accepted_instead_of_a_name() -> None:
    """It does not have to be registered."""
    backend = StdlibBackend()
    config = Config(tls_backend=backend)
    assert get_backend(backend) is backend
    assert BlockingConnection(config, Meter(None)).backend is backend


@pytest.mark.parametrize("nonsense", [StdlibBackend, 7, None])
def test_value_that_is_not_a_backend_is_refused(nonsense: Any) -> None:
    with pytest.raises(Error):
        get_backend(nonsense)
