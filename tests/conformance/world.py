"""The servers and files that the table's connection strings name."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from babar_tls.testing import CertificateAuthority, PostgresServer, Role

from .certificates import SHAPES, Authorities, subject_hash
from .scripted import HOSTS, NEGOTIATION, PROTOCOL, ScriptLog
from .server_log import SETTINGS, ServerLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Self

    from babar_tls.testing import ServerCertificate

_SCRIPTS = {**NEGOTIATION, **HOSTS, **PROTOCOL}
PASSWORD = "correct horse"
POSTGRES15 = Path("/usr/lib/postgresql/15/bin")  # Debian's

_METHODS = {"scram": "scram-sha-256", "md5": "md5", "password": "password", "trust": "trust", "reject": "reject"}
_SCOPES = {"any": "host", "ssl": "hostssl", "nossl": "hostnossl"}

#: By role: lines of pg_hba.conf, where `{}` is replaced by the database and the role.
_HBA: dict[str, list[str]] = {
    **{f"{m}_{s}": [f"{scope} {{}} all {method}"] for m, method in _METHODS.items() for s, scope in _SCOPES.items()},
    "sslreject_trust": ["hostssl {} all reject", "hostnossl {} all trust"],
    "sslreject_scram": ["hostssl {} all reject", "hostnossl {} all scram-sha-256"],
    "nosslreject_trust": ["hostnossl {} all reject", "hostssl {} all trust"],
    "nosslreject_scram": ["hostnossl {} all reject", "hostssl {} all scram-sha-256"],
    "sslscram_trust": ["hostssl {} all scram-sha-256", "hostnossl {} all trust"],
    "ssltrust_scram": ["hostssl {} all trust", "hostnossl {} all scram-sha-256"],
    "sslscram_md5": ["hostssl {} all scram-sha-256", "hostnossl {} all md5"],
    "sslcert_trust": ["hostssl {} all cert", "hostnossl {} all trust"],
    "slow_any": ["host {} all scram-sha-256"],
    "expired_any": ["host {} all scram-sha-256"],
    "nologin_any": ["host {} all trust"],
    "crowded_any": ["host {} all trust"],
    "readonly_any": ["host {} all trust"],
    "peer_local": ["local {} peer"],
    "scram_local": ["local {} scram-sha-256"],
    "trust_local": ["local {} trust"],
    "password_local": ["local {} password"],
    "reject_local": ["local {} reject"],
}
#: The client certificate's role, and another one; the database decides what they must present.
_CERTIFICATE_HBA = [
    "hostssl d_cert all all cert",
    "hostssl d_ca all all scram-sha-256 clientcert=verify-ca",
    "hostssl d_full all all scram-sha-256 clientcert=verify-full",
    "hostssl d_trustfull all all trust clientcert=verify-full",
    "host d_scram all all scram-sha-256",
]
#: By database: the SQL that makes it what its name says.
_DATABASES = {
    **dict.fromkeys(("d_cert", "d_ca", "d_full", "d_trustfull", "d_scram"), ""),
    "d_closed": "ALTER DATABASE d_closed ALLOW_CONNECTIONS false;",
    "d_private": "REVOKE CONNECT ON DATABASE d_private FROM public;",
    "d_readonly": "ALTER DATABASE d_readonly SET default_transaction_read_only TO on;",
}
_SQL = """
ALTER ROLE expired_any VALID UNTIL '2001-01-01';
ALTER ROLE nologin_any NOLOGIN;
ALTER ROLE crowded_any CONNECTION LIMIT 0;
ALTER ROLE readonly_any SET default_transaction_read_only TO on;
"""


def _verifier(iterations: int) -> str:
    """Return a SCRAM verifier with few iterations, which is fast."""
    from babar_tls.crypto import scram_verifier

    return scram_verifier(PASSWORD, iterations=iterations)


def _roles() -> dict[str, Role]:
    cheap = _verifier(2)
    roles = {name: Role(password=cheap) for name in (*_HBA, "certified", "uncertified", "unlisted")}
    roles.update({name: Role(PASSWORD, "md5") for name in _HBA if name.startswith("md5_")})
    roles["slow_any"] = Role(password=_verifier(4096))
    roles["passwordless"] = Role()
    return roles


def _hba() -> list[str]:
    lines = [line.replace("{}", f"all {role}") for role, lines in _HBA.items() for line in lines]
    return [*_CERTIFICATE_HBA, *lines, "host all passwordless all scram-sha-256"]


class Files:
    """Certificates, keys and home directories, under the names by which the table knows them."""

    def __init__(self, folder: Path) -> None:
        self.authority = CertificateAuthority(common_name="conformance root")
        self.client_authority = CertificateAuthority(common_name="conformance client root")
        other = CertificateAuthority(common_name="another root")
        self.names = {"missing": str(folder / "missing"), "folder": str(folder)}
        self._folder = folder
        self.authorities = made = Authorities(self.authority)
        self._write("root", self.authority.certificate_pem)
        self._write("wrong_root", other.certificate_pem)
        self._write("no_root", b"nothing that looks like a certificate\n")
        self._write("no_crl", b"nothing that looks like a revocation list\n")
        self._write("intermediate", made.intermediate.certificate_pem)
        self._write("rooted", made.intermediate.certificate_pem + self.authority.certificate_pem)
        self._write("expired_root", made.expired.certificate_pem)
        self._write("crl", self.authority.revocation_list())
        self._write("crl_other", other.revocation_list())
        for name in ("crl_dir", "crl_dir_revoked", "crl_dir_empty"):
            self.names[name] = str(folder / name)
            (folder / name).mkdir()
        self._list_in("crl_dir", self.authority.revocation_list())
        good = self.client_authority.issue(common_name="certified", san=False, usage="client")
        yesterday = datetime.now(UTC) - timedelta(days=1)
        certificates = {
            "good": good,
            "expired": self.client_authority.issue(
                common_name="certified", san=False, usage="client", not_after=yesterday
            ),
            "untrusted": other.issue(common_name="certified", san=False, usage="client"),
        }
        for name, certificate in certificates.items():
            self._write(f"{name}_cert", certificate.certificate_pem)
            self._write(f"{name}_key", certificate.private_key_pem, 0o600)
        self._write("open_key", good.private_key_pem, 0o644)
        self._write("no_key", b"nothing that looks like a key\n", 0o600)
        self._write("no_cert", b"nothing that looks like a certificate\n")
        home = {"root": ["root.crt"], "wrong_root": ["root.crt"], "good_cert": ["postgresql.crt", "postgresql.key"]}
        for name in ("empty", *home):
            (folder / f"home_{name}" / ".postgresql").mkdir(parents=True)
            self.names[f"home_{name}"] = str(folder / f"home_{name}")
        for name, files in home.items():
            for source, target in zip((name, "good_key"), files, strict=False):
                shutil.copy(self.names[source], folder / f"home_{name}" / ".postgresql" / target)

    def describe(self, certificate: ServerCertificate) -> None:
        """Write the files that go with a server's certificate: as a root, and its revocation."""
        end = b"-----END CERTIFICATE-----\n"
        self._write("leaf", certificate.certificate_pem.partition(end)[0] + end)
        self._write("signer", certificate.root_pem)
        revoked = self.authority.revocation_list([certificate])
        self._write("crl_revoked", revoked)
        self._list_in("crl_dir_revoked", revoked)

    def _list_in(self, directory: str, revocation_list: bytes) -> None:
        """Put a list of the root's into a directory, under the name by which OpenSSL looks for it."""
        (Path(self.names[directory]) / f"{subject_hash(self.authority.certificate_pem)}.r0").write_bytes(
            revocation_list
        )

    def _write(self, name: str, data: bytes, mode: int = 0o644) -> None:
        path = self._folder / name
        path.write_bytes(data)
        path.chmod(mode)
        self.names[name] = str(path)


def require_postgres15() -> None:
    """Skip where Debian's PostgreSQL 15 is not installed, unless the environment demands it."""
    if not POSTGRES15.exists() and os.environ.get("BABAR_TLS_TEST_POSTGRES15") != "require":
        pytest.skip(f"needs PostgreSQL 15 in {POSTGRES15}")


class World:
    """Servers, started when a case first names them, and files."""

    def __init__(self, folder: Path) -> None:
        self.files = Files(folder)
        self._servers: dict[str, PostgresServer] = {}
        self._scripts: dict[str, ScriptLog] = {}
        self._closed: socket.socket | None = None
        self._stack = contextlib.ExitStack()
        self._makers: dict[str, Callable[[], PostgresServer]] = {
            "tls": self._make,
            "plain": lambda: self._make(tls=False, databases=("d_readonly",)),
            "certs": lambda: self._make(databases=()),
            "tls15": lambda: self._make(pg_bindir=POSTGRES15),
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def server(self, name: str) -> PostgresServer:
        """Return the server with this name; start it if necessary."""
        if name not in self._servers:
            self._servers[name] = self._makers[name]()
        return self._servers[name]

    def present(self, shape: str) -> None:
        """Have the server for certificates present one of this shape."""
        certificate = SHAPES[shape](self.files.authorities)
        self.files.describe(certificate)
        self.server("certs").set_certificate(certificate)

    def log(self, name: str) -> ServerLog | ScriptLog:
        """Return the log of a server, real or scripted, from now on."""
        return self._script(name) if name in _SCRIPTS else ServerLog(self.server(name))

    def _script(self, name: str) -> ScriptLog:
        if name not in self._scripts:
            certificate = self.files.authority.issue("localhost")
            self._scripts[name] = self._stack.enter_context(ScriptLog(name, _SCRIPTS[name], certificate))
        return self._scripts[name]

    def values(self, servers: tuple[str, ...]) -> dict[str, str]:
        """Return the replacements of the names in the table's strings."""
        values = {**self.files.names, "closed": self._closed_port()}
        for name in servers:
            if name in _SCRIPTS:
                values[name] = str(self._script(name).server.port)
                continue
            server = self.server(name)
            values[name] = str(server.port)
            values[f"{name}_socket"] = str(server.socket_dir)
        return values

    def _closed_port(self) -> str:
        """Return a port that is bound but has no listener."""
        if self._closed is None:
            self._closed = self._stack.enter_context(socket.socket())
            self._closed.bind(("127.0.0.1", 0))
        return str(self._closed.getsockname()[1])

    def _make(
        self, *, tls: bool = True, databases: Iterable[str] = tuple(_DATABASES), pg_bindir: Path | None = None
    ) -> PostgresServer:
        settings = dict(SETTINGS)
        files = {}
        if tls:
            settings["ssl_ca_file"] = "client_root.crt"
            files["client_root.crt"] = self.files.client_authority.certificate_pem
        certificate = self.files.authority.issue("localhost", "db.example.com", "127.0.0.1", "::1") if tls else None
        server = PostgresServer(
            tls=tls,
            certificate=certificate,
            ca=self.files.authority,
            roles=_roles(),
            hba=_hba(),
            settings=settings,
            files=files,
            databases=databases,
            pg_bindir=pg_bindir,
        )
        self._stack.enter_context(server)
        server.sql(_SQL + "\n".join(_DATABASES[name] for name in databases))
        return server
