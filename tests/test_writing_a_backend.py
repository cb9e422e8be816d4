"""The backend in docs/writing-a-backend.md works, and adapters import only documented names."""

from __future__ import annotations

import ast
import importlib
import os
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("cryptography")

import babar_tls.backends
import babar_tls.errors
from babar_tls import CertificateError, ConfigError
from babar_tls.backends import TlsBackend, TlsParameters
from babar_tls.config.enums import TlsVersion
from babar_tls.testing import CertificateAuthority, check_backend
from babar_tls.testing.backend_checks._pair import Pair, only
from babar_tls.tls.connection import TlsConnection

if TYPE_CHECKING:
    from collections.abc import Iterator

HANDSHAKES = 1000 if os.environ.get("BABAR_TLS_EXHAUSTIVE") == "1" else 200
ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "writing-a-backend.md"
ADAPTERS = (PAGE, *sorted((ROOT / "examples").glob("*/*/*.py")))
NAME = "db.example.com"

pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="the documentation is not part of this distribution")

versions = pytest.mark.parametrize("version", [version.value for version in TlsVersion])


def source() -> str:
    """Return the first module on the page: a fenced block that begins with a docstring."""
    found = re.search(r'^```python\n(""".*?)^```$', PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsBackend]:
    folder = tmp_path_factory.mktemp("page")
    (folder / "my_backend.py").write_text(source(), encoding="utf-8")
    sys.path.insert(0, str(folder))
    try:
        yield importlib.import_module("my_backend").MyBackend()
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop("my_backend", None)


@pytest.fixture(scope="module")
def authority() -> CertificateAuthority:
    return CertificateAuthority()


@pytest.fixture(scope="module")
def parameters(authority: CertificateAuthority, tmp_path_factory: pytest.TempPathFactory) -> TlsParameters:
    path = tmp_path_factory.mktemp("roots") / "root.crt"
    path.write_bytes(authority.certificate_pem)
    return TlsParameters(root_cert_path=str(path), default_roots=False)


@versions
def test_data_travels_both_ways(
    backend: TlsBackend, parameters: TlsParameters, authority: CertificateAuthority, version: str
) -> None:
    pair = Pair(backend, parameters, NAME, authority.issue(NAME), fragment=7, **only(version)).handshake()
    facts = pair.client.facts
    assert facts is not None
    assert (facts.version, facts.possession_proven) == (version, True)
    pair.server_write(b"from the server")
    assert pair.read() == b"from the server"
    pair.client.write(bytes(100_000))
    assert pair.server_read() == bytes(100_000)


@versions
def test_server_of_another_name_is_refused(
    backend: TlsBackend, parameters: TlsParameters, authority: CertificateAuthority, version: str
) -> None:
    pair = Pair(backend, parameters, NAME, authority.issue("other.example.com"), **only(version))
    with pytest.raises(CertificateError) as caught:
        pair.handshake()
    assert caught.value.reason == "hostname-mismatch"
    assert pair.server_error is not None
    assert pair.server_error.reason == "SSLV3_ALERT_BAD_CERTIFICATE"


@versions
def test_expired_certificate_is_refused(
    backend: TlsBackend, parameters: TlsParameters, authority: CertificateAuthority, version: str
) -> None:
    expired = authority.issue(NAME, not_after=datetime.now(UTC) - timedelta(days=1))
    with pytest.raises(CertificateError) as caught:
        Pair(backend, parameters, NAME, expired, **only(version)).handshake()
    assert caught.value.reason == "expired"


def test_certificate_of_another_authority_is_refused(backend: TlsBackend, parameters: TlsParameters) -> None:
    with pytest.raises(CertificateError) as caught:
        Pair(backend, parameters, NAME, CertificateAuthority().issue(NAME)).handshake()
    assert caught.value.reason == "untrusted"


def test_unreadable_root_is_a_configuration_error(backend: TlsBackend, tmp_path: Path) -> None:
    path = tmp_path / "root.crt"
    path.write_bytes(b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n")
    with pytest.raises(ConfigError, match=re.escape(str(path))):
        TlsConnection(backend, TlsParameters(root_cert_path=str(path), default_roots=False), NAME)


def test_unsupported_feature_is_refused(backend: TlsBackend, parameters: TlsParameters) -> None:
    for refused in ({"groups": ("x25519",)}, {"key_log_path": "keys"}, {"crl_path": "list.crl"}):
        with pytest.raises(ConfigError, match="the mine backend cannot"):
            TlsConnection(backend, TlsParameters(**{**vars(parameters), **refused}), NAME)


def test_every_check_passes(backend: TlsBackend) -> None:
    check_backend(backend, handshakes=HANDSHAKES)


def documented_names() -> set[str]:
    """Return the names in the first column of the page's table of names."""
    text = PAGE.read_text(encoding="utf-8")
    table = text.split("| from `babar_tls.backends` |", 1)[1].split("\n\n", 1)[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


def imported_names(text: str) -> Iterator[tuple[str, str]]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names if alias.name.startswith("babar_tls"))
        elif isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").split(".")[0] == "babar_tls":
            yield from ((node.module or "", alias.name) for alias in node.names)


def test_documented_names_can_be_imported() -> None:
    names = documented_names()
    assert {"TlsBackend", "TlsStream", "chain_error"} <= names
    assert names <= set(babar_tls.backends.__all__)


@pytest.mark.parametrize("path", ADAPTERS, ids=lambda path: path.name)
def test_adapters_import_only_documented_names(path: Path) -> None:
    allowed = {("babar_tls.backends", name) for name in documented_names()}
    allowed |= {("babar_tls.errors", name) for name in babar_tls.errors.__all__}
    text = source() if path == PAGE else path.read_text(encoding="utf-8")
    assert set(imported_names(text)) <= allowed
