"""What goes into a PostgreSQL data folder: its files, its settings, its roles."""

from __future__ import annotations

import os
import re
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from babar_tls.testing._processes import Account
    from babar_tls.testing.certificates import ServerCertificate


SUPERUSER = "postgres"

DEFAULT_SETTINGS = {
    # The data are not to survive, so nothing waits for the disk, and nothing runs that a test has no use for.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",
    "shared_buffers": "16MB",
    "max_connections": "100",
    "log_line_prefix": "%m [%p] ",
}

_COMPLAINT = re.compile(
    r"was not reloaded|contains errors|cannot be changed without|unrecognized configuration parameter"
    r"|invalid value for parameter|could not load|invalid (?:authentication|connection|entry)|no changes were applied"
)


@dataclass(frozen=True)
class Role:
    """A role that can log in.

    Attributes:
        password: Its password, or a ready verifier (``SCRAM-SHA-256$...``, ``md5...``), stored as it is;
            `None` for none.
        encryption: How the server is to store the password.
        superuser: Whether the role is one.
    """

    password: str | None = field(default=None, repr=False)
    encryption: Literal["scram-sha-256", "md5"] = "scram-sha-256"
    superuser: bool = False


@dataclass(frozen=True)
class Configuration:
    """All that the server reads again when it reloads.

    Attributes:
        hba: The lines of pg_hba.conf, those of the test's author.
        settings: postgresql.conf settings, by name.
        certificate: What the server presents; `None` for no TLS.
    """

    hba: tuple[str, ...]
    settings: Mapping[str, str]
    certificate: ServerCertificate | None

    def write(self, data_dir: Path, account: Account | None, *, port: int, socket_dir: Path) -> None:
        """Writes the files, for a server that listens on a port and has its Unix socket in a folder."""
        if self.certificate is not None:
            write_file(data_dir / "server.key", self.certificate.private_key_pem, account)
            write_file(data_dir / "server.crt", self.certificate.certificate_pem, account)
        hba = (f"local all {SUPERUSER} scram-sha-256", *self.hba)
        write_file(data_dir / "pg_hba.conf", "".join(f"{line}\n" for line in hba).encode(), account)
        settings = {
            "listen_addresses": "127.0.0.1,::1" if socket.has_ipv6 else "127.0.0.1",
            "ssl": "off" if self.certificate is None else "on",
            **self.settings,
            "unix_socket_directories": str(socket_dir),
            "port": str(port),
        }
        write_file(data_dir / "postgresql.conf", _render_settings(settings), account)


def _quote_literal(text: str) -> str:
    """`text` as an SQL string literal, whatever `standard_conforming_strings` says."""
    quoted = text.replace("'", "''")
    return "E'" + quoted.replace("\\", "\\\\") + "'" if "\\" in quoted else f"'{quoted}'"


def quote_identifier(name: str) -> str:
    """`name` as an SQL identifier; also as a name in pg_hba.conf, where quotes take keywords their meaning."""
    return '"' + name.replace('"', '""') + '"'


def role_statements(name: str, role: Role) -> str:
    """The SQL that creates a role; a failure does not put its password into the server's log."""
    password = "NULL" if role.password is None else _quote_literal(role.password)
    return (
        "SET log_statement TO none; SET log_min_error_statement TO panic;\n"
        f"SET password_encryption TO {_quote_literal(role.encryption)};\n"
        f"CREATE ROLE {quote_identifier(name)} LOGIN {'SUPERUSER ' if role.superuser else ''}PASSWORD {password};\n"
    )


def default_hba(roles: Mapping[str, Role]) -> list[str]:
    """SCRAM for everybody on the local socket and the loopback interface, MD5 for roles that are stored so."""
    places = ("local all {}", "host all {} 127.0.0.1/32", "host all {} ::1/128")
    md5_roles = [quote_identifier(name) for name, role in roles.items() if role.encryption == "md5"]
    lines = [f"{place.format(name)} md5" for name in md5_roles for place in places]
    return lines + [f"{place.format('all')} scram-sha-256" for place in places]


def _render_settings(settings: Mapping[str, str]) -> bytes:
    """A postgresql.conf (https://www.postgresql.org/docs/current/config-setting.html)."""
    lines = []
    for name, value in settings.items():
        quoted = str(value).replace("\\", "\\\\").replace("'", "''")
        lines.append(f"{name} = '{quoted}'\n")
    return "".join(lines).encode()


def write_file(path: Path, data: bytes, account: Account | None) -> None:
    """Puts a file in place at once, readable by the server's account alone."""
    scratch = path.with_name(path.name + ".new")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        if account is not None:
            os.chown(scratch, account.uid, account.gid)
        file.write(data)
    scratch.replace(path)


def complaints(log: str) -> list[str]:
    """Those lines of a log in which the server says that it did not take over a configuration."""
    return [line for line in log.splitlines() if _COMPLAINT.search(line)]
