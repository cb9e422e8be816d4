"""PostgresServer: options, changes of a running server, errors."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import socket
import ssl
from pathlib import Path

import pytest

from babar_tls import Config, Session
from babar_tls.testing import CertificateAuthority, PostgresError, PostgresServer, PostgresStartError, _server_process
from babar_tls.testing._tls_contexts import SSL_REQUEST, request_tls

from .queries import query


def log_in(server: PostgresServer, sql: str = "select 'in'", **overrides: str | int | None) -> str:
    """Return the result of a query over TCP, or the text of the error."""
    return query(server.conninfo(**overrides), sql)


def presented(server: PostgresServer) -> bytes | None:
    with socket.create_connection((server.host, server.port), timeout=10) as sock:
        stream = request_tls(sock)
        assert stream is not None
        with stream:
            return stream.getpeercert(binary_form=True)


def test_tls_is_verifiable(server: PostgresServer) -> None:
    """The default certificate verifies against `root_cert_path`, by name and by address, strictly."""
    context = ssl.create_default_context(cafile=server.root_cert_path)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    for name in ("localhost", "127.0.0.1", "::1"):
        with socket.create_connection((server.host, server.port), timeout=10) as sock:
            sock.sendall(SSL_REQUEST)
            assert sock.recv(1) == b"S"
            with context.wrap_socket(sock, server_hostname=name) as stream:
                assert stream.version() == "TLSv1.3"


@pytest.mark.parametrize(
    ("role", "password"),
    [("postgres", None), ("app", "it's a \\ secret"), ("old", "former"), ("boss", "boss")],
)
def test_roles_can_log_in(role: str, password: str | None, server: PostgresServer) -> None:
    """The superuser and every role with a password log in over verified TLS, to any database."""
    answer = log_in(server, "select current_user", user=role, password=password or server.password, dbname="orders")
    assert answer == role


def test_roles_are_stored_as_asked(server: PostgresServer) -> None:
    """Passwords are stored as SCRAM verifiers, MD5 hashes or not at all; superusers are what they are."""
    rows = server.sql("select rolname, left(rolpassword, 3), rolsuper from pg_authid where rolcanlogin order by 1")
    assert rows.splitlines() == ["app|SCR|f", "boss|SCR|t", "nopassword||f", "old|md5|f", "postgres|SCR|t"]
    assert "password authentication failed" in log_in(server, user="nopassword", password="anything")
    assert "password authentication failed" in log_in(server, user="app", password="wrong")


def test_passwords_are_not_logged(server: PostgresServer) -> None:
    """A role that cannot be created does not put its password into the log."""
    with pytest.raises(PostgresError, match="already exists"):
        server.add_role("app", "xyzzy-plugh")
    assert "already exists" in server.log()
    assert "xyzzy-plugh" not in server.log()
    assert server.password not in repr(server)


def test_sql(server: PostgresServer) -> None:
    """SQL runs as the superuser, in any database; a refused statement raises the server's words."""
    assert server.sql("create table t (a int, b text); insert into t values (1, 'é'), (2, null)", "orders") == ""
    assert server.sql("select * from t order by a", database="orders") == "1|é\n2|"
    with pytest.raises(PostgresError, match='relation "t" does not exist'):
        server.sql("select * from t; create table u ()")


def test_unix_socket(server: PostgresServer) -> None:
    """The Unix socket's name fits where names of sockets have to fit, and serves roles as well."""
    path = server.socket_dir / f".s.PGSQL.{server.port}"
    assert path.is_socket()
    assert len(os.fsencode(path)) <= 103
    options = {"host": str(server.socket_dir), "sslmode": "disable"}
    assert log_in(server, user="app", password="it's a \\ secret", **options) == "in"


def test_ipv6(server: PostgresServer) -> None:
    """Where there is IPv6, ::1 is served on the same port."""
    try:
        socket.create_connection(("::1", server.port), timeout=10).close()
    except OSError as exc:
        pytest.skip(f"no IPv6 here: {exc}")
    assert log_in(server, host="::1") == "in"


def test_new_connections_see_a_new_certificate(server: PostgresServer) -> None:
    """Once `set_certificate` has returned, every new connection sees the new certificate."""
    before = server.certificate
    assert before is not None
    assert presented(server) == before.der
    for key in ("rsa2048", "ed25519", "p384"):
        certificate = server.ca.issue("localhost", "127.0.0.1", key=key)
        server.set_certificate(certificate)
        assert server.certificate == certificate
        assert presented(server) == certificate.der
    assert log_in(server) == "in"
    broken = dataclasses.replace(before, private_key_pem=server.ca.issue("other").private_key_pem)
    with pytest.raises(PostgresError, match=r"(?s)did not apply.*(key|SSL)"):
        server.set_certificate(broken)
    assert presented(server) == certificate.der
    server.set_certificate(before)


def test_new_connections_use_new_hba_lines(server: PostgresServer) -> None:
    """Lines of pg_hba.conf take effect at once; nonsense is refused and leaves the old ones in force."""
    server.set_hba(["hostssl all app 127.0.0.1/32 trust", "host all all 127.0.0.1/32 reject"])
    assert log_in(server, user="app", password=None) == "in"
    assert "rejects connection" in log_in(server, user="old")
    with pytest.raises(PostgresError, match="nonsense"):
        server.set_hba(["nonsense"])
    assert log_in(server, user="app", password=None) == "in"
    server.set_hba(["host all all 127.0.0.1/32 scram-sha-256"])
    assert "no password supplied" in log_in(server, user="app", password=None)


def test_new_connections_use_new_settings(server: PostgresServer) -> None:
    """Settings take effect at once; one that needs a restart or does not exist is refused and taken back."""
    server.set_settings({"ssl_min_protocol_version": "TLSv1.3", "application_name": "it's \\ here"})
    assert server.sql("show application_name") == "it's \\ here"
    assert server.sql("show ssl_min_protocol_version") == "TLSv1.3"
    assert "protocol version" in log_in(server, ssl_max_protocol_version="TLSv1.2")
    server.set_settings({"ssl_min_protocol_version": None})
    assert log_in(server, ssl_max_protocol_version="TLSv1.2") == "in"
    for name in ("shared_buffers", "no_such_setting"):
        with pytest.raises(PostgresError, match=name):
            server.set_settings({name: "30MB"})
    server.reload()


def test_conninfo(server: PostgresServer) -> None:
    """Values of the keyword string are quoted where necessary, and overrides replace, add or leave out."""
    text = server.conninfo(password="a'b\\c d", sslmode="require", sslrootcert=None, application_name="x")
    assert r"password='a\'b\\c d'" in text
    assert "sslrootcert" not in text
    assert "sslmode=require" in text
    assert text.endswith("application_name=x")


def test_config(server: PostgresServer) -> None:
    """A `Config` names the server, the superuser and the certificate to trust; overrides win."""
    config = server.config(database="orders")
    assert (config.host, config.port, config.user) == (server.host, server.port, "postgres")
    assert (config.password, config.database) == (server.password, "orders")
    assert str(config.tls_root_cert_path) == str(server.root_cert_path)
    assert config.tls_default_roots is False


@pytest.mark.parametrize(
    ("role", "password"), [("app", "it's a \\ secret"), ("nopassword", None), ("unknown", None), ("postgres", "…")]
)
def test_another_role_has_its_own_password(role: str, password: str | None, server: PostgresServer) -> None:
    expected = server.password if role == "postgres" else password
    assert server.config(user=role).password == expected
    assert Config.from_conninfo(server.conninfo(user=role), environ={}).password == expected
    assert ("password=" in server.conninfo(user=role)) is (expected is not None)


def test_role_that_was_added_later_has_its_own_password(server: PostgresServer) -> None:
    server.add_role("later", "after")
    Session.connect(server.config(user="later")).close()
    server.sql("drop role later")


def test_server_without_tls_refuses_tls() -> None:
    with PostgresServer(tls=False, settings={"log_connections": "on"}) as plain:
        with socket.create_connection((plain.host, plain.port), timeout=10) as sock:
            sock.sendall(SSL_REQUEST)
            assert sock.recv(1) == b"N"
        assert plain.certificate is None
        assert log_in(plain) == "in"
        with pytest.raises(PostgresError, match="tls=False"):
            plain.set_certificate(CertificateAuthority().issue("localhost"))
        with pytest.raises(PostgresStartError, match="already running"):
            plain.start()
    assert "connection authorized" in plain.log()
    with pytest.raises(PostgresError, match="not running"):
        plain.sql("select 1")
    with pytest.raises(ValueError, match="tls=True"):
        PostgresServer(tls=False, certificate=CertificateAuthority().issue("localhost"))


def test_client_certificates_and_files() -> None:
    """Files of the data folder serve settings: here, the authority that client certificates must come from."""
    clients = CertificateAuthority()
    hba = ["hostssl all all 127.0.0.1/32 cert"]
    options = {"files": {"clients.pem": clients.certificate_pem}, "settings": {"ssl_ca_file": "clients.pem"}}
    with PostgresServer(hba=hba, roles={"app": None}, **options) as running:
        folder = running.socket_dir.parent
        client = clients.issue(common_name="app", usage="client")
        client.write(folder / "app.crt", folder / "app.key")
        files = {"sslcert": str(folder / "app.crt"), "sslkey": str(folder / "app.key")}
        assert log_in(running, user="app", password=None, **files) == "in"
        assert "requires a valid client certificate" in log_in(running, user="app", password=None)


def test_environment_admits_weak_certificates() -> None:
    """OPENSSL_CONF reaches the server: with it, it presents a certificate that it would refuse to load otherwise."""
    weak = CertificateAuthority("rsa2048").issue("localhost", hash="md5")
    with pytest.raises(PostgresStartError, match="too weak"), PostgresServer(certificate=weak):
        pass
    relaxed = b"openssl_conf=a\n[a]\nssl_conf=b\n[b]\nsystem_default=c\n[c]\nCipherString=DEFAULT:@SECLEVEL=0\n"
    options = {"environment": {"OPENSSL_CONF": "openssl.cnf"}, "files": {"openssl.cnf": relaxed}}
    with PostgresServer(certificate=weak, **options) as running:
        assert presented(running) == weak.der
        assert running.root_cert_path.read_bytes() == weak.root_pem


def test_start_error_has_the_log(capfd: pytest.CaptureFixture[str]) -> None:
    """The error has the last lines of the log, and nothing is left behind."""
    failing = PostgresServer(settings={"shared_buffers": "-3"})
    with pytest.raises(PostgresStartError, match=r"(?s)exited with status 1.*-3.*shared_buffers") as caught:
        failing.start()
    assert "last lines" in str(caught.value)
    assert not failing.data_dir.parent.exists()
    assert "shared_buffers" in failing.log()
    assert capfd.readouterr() == ("", "")


def test_missing_installation_is_named_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(PostgresStartError, match=str(tmp_path)):
        PostgresServer(pg_bindir=tmp_path).start()


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_server_uses_another_port_if_its_port_is_taken(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process takes the port on one address just before the server starts."""
    free_port = _server_process._free_port
    address = "127.0.0.1" if family == "ipv4" else "::1"
    kind = socket.AF_INET if family == "ipv4" else socket.AF_INET6
    try:
        squatter = socket.create_server((address, 0), family=kind)
    except OSError as exc:
        pytest.skip(f"no {family} here: {exc}")
    with squatter:
        taken = squatter.getsockname()[1]
        ports = iter([taken])
        monkeypatch.setattr(_server_process, "_free_port", lambda: next(ports, None) or free_port())
        with PostgresServer(tls=False) as running:
            assert running.port != taken
            assert log_in(running) == "in"


def test_other_installations_can_be_used() -> None:
    bindirs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not bindirs:
        pytest.skip("no other PostgreSQL is installed")
    with PostgresServer(pg_bindir=bindirs[-1], roles={"app": "pw"}) as running:
        assert running.version.split(".")[0] == bindirs[-1].parent.name
        assert log_in(running, user="app", password="pw") == "in"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has anything to drop")
def test_root_runs_it_unprivileged(server: PostgresServer) -> None:
    """Started by root, the server runs under another account, which owns the data."""
    assert server.data_dir.stat().st_uid != 0
    assert server.data_dir.stat().st_mode & 0o077 == 0
    postmaster = int((server.data_dir / "postmaster.pid").read_text().split()[0])
    assert Path(f"/proc/{postmaster}").stat().st_uid == server.data_dir.stat().st_uid


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has anything to drop")
def test_unreachable_installation_is_copied(server: PostgresServer, tmp_path: Path) -> None:
    """An installation in a folder that only root can enter is copied to where it can be run."""
    tmp_path.chmod(0o700)
    private = tmp_path / "pginstall"
    shutil.copytree(server.bindir.parent, private, symlinks=True)
    private.chmod(0o700)
    with PostgresServer(pg_bindir=private / "bin", tls=False) as running:
        assert running.bindir != private / "bin"
        assert log_in(running) == "in"
        copy = running.bindir
    with PostgresServer(pg_bindir=private / "bin", tls=False) as again:
        assert again.bindir == copy


def test_long_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder for temporary files has a path that is too long for a Unix socket, so /tmp is used."""
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    with PostgresServer(tls=False) as running:
        assert long not in running.data_dir.parents
        assert running.sql("select 1") == "1"


def test_server_that_ignores_the_fast_shutdown_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_server_process, "_STOP_TIMEOUT", 0.5)
    running = PostgresServer(tls=False)
    running.start()
    folder = running.data_dir.parent
    postmaster = int((running.data_dir / "postmaster.pid").read_text().split()[0])
    os.kill(postmaster, signal.SIGSTOP)
    running.stop()
    running.stop()
    assert not folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(postmaster, 0)
