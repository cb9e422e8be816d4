"""The example is a separate package: it is found if it is installed, passes all checks, and connects."""

from __future__ import annotations

import importlib
import json
import os
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("cryptography")

from babar_tls import CertificateError, ConfigError
from babar_tls.backends import TlsBackend, TlsParameters
from babar_tls.testing import CertificateAuthority, PostgresServer
from babar_tls.testing.backend_checks._pair import Pair, only
from babar_tls.tls.alerts import BAD_CERTIFICATE_RECORD
from babar_tls.tls.connection import TlsConnection
from babar_tls.tls.parameters import ClientCertificate

from .installation import EXAMPLE, needs_example, run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from babar_tls.testing import ServerCertificate

HANDSHAKES = 1000 if os.environ.get("BABAR_TLS_EXHAUSTIVE") == "1" else 200
NAME = "db.example.com"
MOST_LINES = 200

pytestmark = needs_example

versions = pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])


@pytest.fixture(scope="module")
def backend(installed: Path) -> TlsBackend:
    sys.path.insert(0, str(installed))
    try:
        module = importlib.import_module("babar_tls_gnutls")
    finally:
        sys.path.remove(str(installed))
    found = module.GnuTlsBackend()
    assert isinstance(found, TlsBackend)
    return found


@pytest.fixture(scope="module")
def authority() -> CertificateAuthority:
    return CertificateAuthority()


@pytest.fixture(scope="module")
def parameters(authority: CertificateAuthority, tmp_path_factory: pytest.TempPathFactory) -> TlsParameters:
    return trusting(tmp_path_factory.mktemp("roots") / "root.crt", authority.certificate_pem)


def trusting(path: Path, pem: bytes, **options: object) -> TlsParameters:
    path.write_bytes(pem)
    return TlsParameters(root_cert_path=str(path), default_roots=False, **options)  # type: ignore[arg-type]  # any field


def test_adapter_is_short() -> None:
    files = {path.name: path for path in EXAMPLE.glob("*/*.py")}
    assert sorted(files) == ["__init__.py", "_library.py", "_pkcs11.py"]
    assert len(files["__init__.py"].read_text(encoding="utf-8").splitlines()) <= MOST_LINES
    for name in ("_library.py", "_pkcs11.py"):
        assert "from babar_tls" not in files[name].read_text(encoding="utf-8")


@versions
def test_data_travels_both_ways(
    backend: TlsBackend, parameters: TlsParameters, authority: CertificateAuthority, version: str
) -> None:
    pair = Pair(backend, parameters, NAME, authority.issue(NAME), fragment=7, **only(version)).handshake()
    facts = pair.client.facts
    assert facts is not None
    assert (facts.version, facts.cipher) == (version, pair.server.cipher()[0])  # type: ignore[index]  # it is complete
    assert facts.possession_proven
    pair.server_write(b"from the server")
    assert pair.read() == b"from the server"
    pair.client.write(bytes(100_000))
    assert pair.server_read() == bytes(100_000)


@versions
def test_gnutls_sends_the_alert_to_a_server_of_another_name(
    backend: TlsBackend, parameters: TlsParameters, authority: CertificateAuthority, version: str
) -> None:
    pair = Pair(backend, parameters, NAME, authority.issue("other.example.com"), **only(version))
    with pytest.raises(CertificateError) as caught:
        pair.handshake()
    assert caught.value.reason == "hostname-mismatch"
    assert NAME in str(caught.value)
    assert pair.server_error is not None
    assert pair.server_error.reason == "SSLV3_ALERT_BAD_CERTIFICATE"
    is_plain = BAD_CERTIFICATE_RECORD in pair.sent  # in TLS 1.3 only the library can encrypt it
    assert is_plain is (version == "TLSv1.2")


@pytest.mark.parametrize(
    ("reason", "make"),
    [
        ("untrusted", lambda _: CertificateAuthority().issue(NAME)),
        ("purpose", lambda ca: ca.issue(NAME, usage="client")),
        ("expired", lambda ca: ca.issue(NAME, not_after=datetime.now(UTC) - timedelta(days=1))),
    ],
)
def test_rejected_chain_is_a_certificate_error(
    backend: TlsBackend,
    parameters: TlsParameters,
    authority: CertificateAuthority,
    reason: str,
    make: Callable[[CertificateAuthority], ServerCertificate],
) -> None:
    with pytest.raises(CertificateError, match="certificate verify failed") as caught:
        Pair(backend, parameters, NAME, make(authority)).handshake()
    assert caught.value.reason == reason
    assert caught.value.remedy


def test_intermediate_in_the_root_file_is_not_a_root(
    backend: TlsBackend, authority: CertificateAuthority, tmp_path: Path
) -> None:
    intermediate = authority.intermediate()
    parameters = trusting(tmp_path / "root.crt", intermediate.certificate_pem)
    with pytest.raises(CertificateError) as caught:
        Pair(backend, parameters, NAME, intermediate.issue(NAME)).handshake()
    assert caught.value.reason == "untrusted"


def test_exception_in_the_name_check_is_raised(
    backend: TlsBackend, parameters: TlsParameters, authority: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GnuTLS calls the check through ctypes.

    ctypes would ignore the exception and return 0, which accepts the certificate.
    """

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("babar_tls.tls.connection.name_fault", interrupted)
    pair = Pair(backend, parameters, NAME, authority.issue(NAME))
    with pytest.raises(KeyboardInterrupt):
        pair.handshake()
    assert pair.client.facts is None


def test_key_of_another_certificate_is_refused(
    backend: TlsBackend, parameters: TlsParameters, authority: CertificateAuthority
) -> None:
    one, other = authority.issue(usage="client"), authority.issue(usage="client")
    source = ClientCertificate(certificate=one.certificate_pem, key=other.private_key_pem)
    with pytest.raises(ConfigError, match="key values mismatch"):
        TlsConnection(backend, replace(parameters, client_certificate=source), NAME)


def test_entry_point_registers_the_backend(installed: Path) -> None:
    """It is imported only when it is used."""
    code = """if True:
        from babar_tls.backends import available_backends, backend_names
        assert "gnutls" in backend_names()
        assert "babar_tls_gnutls" not in sys.modules
        print(*available_backends())
    """
    assert "gnutls" in run(installed, code).split()


def test_every_check_passes(installed: Path) -> None:
    """Except for checks that do not apply to its capabilities."""
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
        "keys.renegotiation",  # where pyOpenSSL is not installed
    }


@versions
def test_session_is_bound_to_the_channel(installed: Path, version: str) -> None:
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
        received = json.loads(run(installed, code, json.dumps(options)))
    assert received == [version, "tls-server-end-point"]


def test_missing_library_is_an_import_error(tmp_path: Path) -> None:
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


def test_gnutls_without_pkcs11_supports_key_files(installed: Path) -> None:
    code = """if True:
        import ctypes
        load = ctypes.CDLL

        class Without:
            def __init__(self, name):
                self.library = load(name)

            def __getattr__(self, name):
                if "pkcs11" in name:
                    raise AttributeError(name)
                return getattr(self.library, name)

        ctypes.CDLL = Without
        from babar_tls.backends import get_backend
        print(*get_backend("gnutls").capabilities.client_keys)
    """
    assert run(installed, code) == "PEM\n"
