"""`Config.to_libpq`: libpq, called through psycopg, connects with these keywords, and is as strict as babar-tls."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from babar_tls import ConfigError, Host
from babar_tls.conninfo.keywords import LIBPQ
from babar_tls.crypto import scram_keys
from babar_tls.testing import CertificateAuthority, PostgresServer, ServerCertificate

from .conftest import PASSWORD, ROLES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

pytest.importorskip("psycopg", reason="libpq is called through psycopg: pip install psycopg[binary]")

HBA = ["host all password_role all password", "host all scram_role all scram-sha-256", "local all all scram-sha-256"]

ROW = """
select ssl, version, client_dn, current_user, current_database(), current_setting('application_name'),
    current_setting('search_path'), current_setting('work_mem')
from pg_stat_ssl where pid = pg_backend_pid()
"""

#: libpq keeps the environment of its process, and a process has one libpq.
PROGRAM = """
import json, sys
import psycopg
if sys.argv[1] == "version":
    names = [option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()]
    print(json.dumps([psycopg.pq.version(), names]))
else:
    with psycopg.connect(**json.loads(sys.argv[2])) as connection:
        used = {option.keyword.decode(): (option.val or b"").decode() for option in connection.pgconn.info}
        print(json.dumps([connection.execute(sys.argv[3]).fetchone(), used]))
"""


class Refused(Exception):
    """libpq did not connect."""


@dataclass
class Libpq:
    """A libpq, in a process without variables and default files.

    Attributes:
        environment: The environment of the process.
        version: The number of ``PQlibVersion``.
        keywords: The names of its keywords.
    """

    environment: dict[str, str]
    version: int = 0
    keywords: list[str] = field(default_factory=list)

    def run(self, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
        done = subprocess.run(  # noqa: S603 - PROGRAM
            [sys.executable, "-c", PROGRAM, *arguments],
            env={**self.environment, **(environment or {})},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode:
            raise Refused(done.stderr)
        return done.stdout

    def connect(self, keywords: dict[str, str], environment: Mapping[str, str] | None = None) -> list[Any]:
        """Connect, check that libpq uses the values of these keywords, and return the row of `ROW`."""
        row: list[Any]
        row, used = json.loads(self.run("connect", json.dumps(keywords), ROW, environment=environment))
        split = {"host", "hostaddr", "port"}  # psycopg connects to one host after the other
        assert [name for name in keywords.keys() - split if used[name] != keywords[name]] == []
        return row


@pytest.fixture(scope="module", params=["psycopg's", "the system's"])
def libpq(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Libpq:
    """Return each libpq that is installed: that of psycopg[binary], and that of the system."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "SSL_CERT_"))}
    environment["HOME"] = str(tmp_path_factory.mktemp("home"))
    if request.param == "the system's":
        environment["PSYCOPG_IMPL"] = "python"
    found = Libpq(environment)
    try:
        found.version, found.keywords = json.loads(found.run("version"))
    except Refused:
        pytest.skip(f"needs {request.param} libpq: apt-get install libpq5")
    return found


@pytest.fixture(scope="module")
def clients() -> CertificateAuthority:
    """Create the CA of the client certificates."""
    return CertificateAuthority(common_name="clients")


@pytest.fixture(scope="module")
def server(clients: CertificateAuthority) -> Iterator[PostgresServer]:
    """Start a server that requests a client certificate."""
    files, settings = {"clients.pem": clients.certificate_pem}, {"ssl_ca_file": "clients.pem"}
    with PostgresServer(roles=ROLES, hba=HBA, files=files, settings=settings) as running:
        yield running


@pytest.fixture
def login(server: PostgresServer) -> dict[str, Any]:
    return {"user": "scram_role", "password": PASSWORD, "channel_binding": "require"}


def write_certificate(certificate: ServerCertificate, folder: Path) -> tuple[str, str]:
    """Write ``postgresql.crt`` and ``postgresql.key``; return their paths."""
    paths = (folder / "postgresql.crt", folder / "postgresql.key")
    certificate.write(*paths)
    paths[1].chmod(0o600)
    return str(paths[0]), str(paths[1])


def test_versions_of_keywords_are_those_of_libpq(libpq: Libpq) -> None:
    assert set(libpq.keywords) == {each.name for each in LIBPQ if each.since <= libpq.version // 10000}


def test_connection_is_encrypted_and_bound(libpq: Libpq, server: PostgresServer, login: dict[str, Any]) -> None:
    config = server.config(**login, tls_min_version="TLSv1.3", application_name="an application")
    row = libpq.connect(config.to_libpq(libpq.version))
    assert row[:6] == [True, "TLSv1.3", None, "scram_role", "postgres", "an application"]


def test_certificate_of_another_ca_is_refused(
    libpq: Libpq, server: PostgresServer, login: dict[str, Any], tmp_path: Path
) -> None:
    CertificateAuthority().write(tmp_path / "other.pem")
    for verify in ("full", "ca"):
        config = server.config(**login, tls_root_cert_path=tmp_path / "other.pem", tls_verify=verify)
        with pytest.raises(Refused, match="certificate verify failed"):
            libpq.connect(config.to_libpq(libpq.version))


def test_tls_server_name_is_verified(libpq: Libpq, server: PostgresServer, login: dict[str, Any]) -> None:
    config = server.config(**login, tls_server_name="localhost")
    assert libpq.connect(config.to_libpq(libpq.version))[0]
    with pytest.raises(Refused, match=r'does not match host name "db\.example\.com"'):
        libpq.connect(config.replace(tls_server_name="db.example.com").to_libpq(libpq.version))


def test_client_certificate_is_presented(
    libpq: Libpq, server: PostgresServer, login: dict[str, Any], clients: CertificateAuthority, tmp_path: Path
) -> None:
    certificate = clients.issue(common_name="scram_role", usage="client")
    path, key = write_certificate(certificate, tmp_path)
    config = server.config(**login, tls_client_cert=path, tls_client_key=key)
    assert libpq.connect(config.to_libpq(libpq.version))[2] == "/O=babar-tls testing/CN=scram_role"
    both = tmp_path / "both.pem"
    both.touch(mode=0o600)
    both.write_bytes(certificate.certificate_pem + certificate.private_key_pem)
    config = server.config(**login, tls_client_cert=both)
    assert libpq.connect(config.to_libpq(libpq.version))[2] == "/O=babar-tls testing/CN=scram_role"


def test_several_hosts_are_tried(libpq: Libpq, server: PostgresServer, login: dict[str, Any]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        hosts = [Host("127.0.0.1", unused.getsockname()[1]), Host("localhost", server.port, "127.0.0.1")]
        config = server.config(**login).replace(hosts=hosts, target_session_attrs="read-write")
        assert libpq.connect(config.to_libpq(libpq.version))[0]


def test_unix_socket_is_used(libpq: Libpq, server: PostgresServer) -> None:
    config = server.config(user="scram_role", password=PASSWORD, host=str(server.socket_dir))
    assert libpq.connect(config.to_libpq(libpq.version))[:2] == [False, None]


def test_server_settings_are_applied_unchanged(libpq: Libpq, server: PostgresServer, login: dict[str, Any]) -> None:
    search_path = '"a \\ b",\t"c\'d", public'
    config = server.config(
        **login, options="-c work_mem=1MB", server_settings={"search_path": search_path, "work_mem": "2MB"}
    )
    assert libpq.connect(config.to_libpq(libpq.version))[6:] == [search_path, "2MB"]


def hostile_environment(libpq: Libpq, folder: Path, certificate: ServerCertificate) -> dict[str, str]:
    """Return variables, a service and default files that set everything to another value."""
    files = folder / ".postgresql"
    files.mkdir()
    write_certificate(certificate, files)
    CertificateAuthority().write(files / "root.crt")
    (files / "root.crl").write_bytes(CertificateAuthority().revocation_list())
    (folder / ".pgpass").write_text("*:*:*:*:wrong\n")
    (folder / ".pgpass").chmod(0o600)
    values = {
        "host": "192.0.2.1",
        "hostaddr": "192.0.2.1",
        "port": "1",
        "sslmode": "disable",
        "requirepeer": "hostile",
        "channel_binding": "disable",
        "require_auth": "none",
        "gssencmode": "require",
        "sslnegotiation": "direct",
        "sslcertmode": "require",
        "ssl_max_protocol_version": "TLSv1.2",
        "target_session_attrs": "standby",
        "load_balance_hosts": "random",
        "replication": "database",
        "sslcert": str(files / "postgresql.crt"),
        "sslkey": str(files / "postgresql.key"),
        "passfile": str(folder / ".pgpass"),
        "options": "-c work_mem=3MB",
        "sslsni": "0",
        "client_encoding": "LATIN1",
    }
    numbers = {"keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout"}
    left_out = numbers | {"service", "servicefile", "scram_client_key", "scram_server_key"}
    used = [each for each in LIBPQ if each.since <= libpq.version // 10000 and each.name not in left_out]
    service = "".join(f"{each.name}={values.get(each.name, 'hostile')}\n" for each in used)
    (folder / "services").write_text(f"[hostile]\n{service}")
    variables = {each.envvar: values.get(each.name, "hostile") for each in LIBPQ if each.envvar}
    return {
        **variables,
        "HOME": str(folder),
        "PGSERVICE": "hostile",
        "PGSERVICEFILE": str(folder / "services"),
        "PGREQUIRESSL": "0",
    }


def test_environment_changes_nothing(
    libpq: Libpq, server: PostgresServer, login: dict[str, Any], clients: CertificateAuthority, tmp_path: Path
) -> None:
    """A service fills the keywords that are not written, and hides the variables."""
    environment = hostile_environment(libpq, tmp_path, clients.issue(common_name="hostile", usage="client"))
    variables = {name: value for name, value in environment.items() if name != "PGSERVICE"}
    keywords = server.config(**login).to_libpq(libpq.version)
    expected = [True, "TLSv1.3", None, "scram_role", "postgres", "", '"$user", public', "4MB"]
    assert libpq.connect(keywords) == expected
    assert libpq.connect(keywords, environment) == expected
    assert libpq.connect(keywords, variables) == expected
    for keyword in ("host", "password", "sslmode", "sslrootcert"):  # the environment is hostile
        with pytest.raises(Refused):
            libpq.connect({name: text for name, text in keywords.items() if name != keyword}, variables)


def test_default_files_are_not_used(
    libpq: Libpq, server: PostgresServer, login: dict[str, Any], clients: CertificateAuthority, tmp_path: Path
) -> None:
    hostile_environment(libpq, tmp_path, clients.issue(common_name="hostile", usage="client"))
    keywords = server.config(**login).to_libpq(libpq.version)
    assert libpq.connect(keywords, {"HOME": str(tmp_path)})[:3] == [True, "TLSv1.3", None]
    unverified = server.config(**login, tls_verify="none").to_libpq(libpq.version)
    assert libpq.connect(unverified, {"HOME": str(tmp_path)})[0]
    with pytest.raises(Refused, match="no password supplied"):
        libpq.connect(server.config(**{**login, "password": None}).to_libpq(libpq.version), {"HOME": str(tmp_path)})


def test_cleartext_password_is_not_sent_to_unverified_server(libpq: Libpq, server: PostgresServer) -> None:
    """A version without require_auth cannot prevent it."""
    config = server.config(user="password_role", password=PASSWORD)
    assert libpq.connect(config.to_libpq(libpq.version))[0]
    unverified = config.replace(tls_verify="none")
    if libpq.version < 160000:
        with pytest.raises(ConfigError, match="require_auth"):
            unverified.to_libpq(libpq.version)
        return
    with pytest.raises(Refused, match="authentication method requirement"):
        libpq.connect(unverified.to_libpq(libpq.version))
    assert libpq.connect(unverified.replace(require_auth="password").to_libpq(libpq.version))[0]


def test_password_file_is_not_read_with_scram_keys(libpq: Libpq, server: PostgresServer, tmp_path: Path) -> None:
    """The file contains the right password. This library does not read it if it has keys."""
    if libpq.version < 180000:
        pytest.skip("needs the SCRAM keys of libpq 18")
    verifier = server.sql("select rolpassword from pg_authid where rolname = 'scram_role'")
    iterations, salt = verifier.split("$")[1].split(":")
    derived = scram_keys(PASSWORD, base64.b64decode(salt), int(iterations))
    keys = {"scram_client_key": derived.client_key, "scram_server_key": derived.server_key}
    file = tmp_path / "pass"
    file.touch(mode=0o600)
    file.write_text(f"*:*:*:*:{PASSWORD}\n")
    config = server.config(user="scram_role", password=None, passfile=file, **keys)
    assert libpq.connect(config.to_libpq(libpq.version))[0]
    keywords = config.replace(user="password_role").to_libpq(libpq.version)
    for changes in ({}, {"require_auth": ""}):
        with pytest.raises(Refused, match=r"no password supplied|authentication method requirement"):
            libpq.connect({**keywords, **changes})


def test_default_roots_are_those_of_openssl(libpq: Libpq, server: PostgresServer, login: dict[str, Any]) -> None:
    config = server.config(**login, tls_root_cert_path=None, tls_default_roots=True)
    if libpq.version < 160000:
        with pytest.raises(ConfigError, match="tls_default_roots"):
            config.to_libpq(libpq.version)
        return
    keywords = config.to_libpq(libpq.version)
    assert libpq.connect(keywords, {"SSL_CERT_FILE": str(server.root_cert_path)})[0]
    with pytest.raises(Refused, match="certificate verify failed"):
        libpq.connect(keywords)


def test_revoked_certificate_is_refused(
    libpq: Libpq, server: PostgresServer, login: dict[str, Any], tmp_path: Path
) -> None:
    """A directory without CRLs is refused too. A file without CRLs is not, and therefore tls_crl_path is refused."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl command")
    assert server.certificate is not None
    crl = tmp_path / "crl.pem"
    keywords = server.config(**login, tls_crl_dir=tmp_path).to_libpq(libpq.version)
    with pytest.raises(Refused, match="certificate verify failed"):
        libpq.connect(keywords)
    for revoked in ([], [server.certificate]):
        crl.write_bytes(server.ca.revocation_list(revoked))
        name = subprocess.run(  # noqa: S603 - openssl
            [openssl, "crl", "-hash", "-noout", "-in", crl], capture_output=True, text=True, check=True
        )
        (tmp_path / f"{name.stdout.strip()}.r0").write_bytes(crl.read_bytes())
        if not revoked:
            assert libpq.connect(keywords)[0]
    with pytest.raises(Refused, match="certificate verify failed"):
        libpq.connect(keywords)
    assert libpq.connect({**keywords, "sslcrl": str(tmp_path / "missing"), "sslcrldir": ""})[0]
