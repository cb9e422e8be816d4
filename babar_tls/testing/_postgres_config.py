"""The roles, settings and pg_hba.conf of a `PostgresServer`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


SUPERUSER = "postgres"

DEFAULT_SETTINGS = {
    # The data are discarded, so the server need not wait for the disk. Unneeded background processes are disabled.
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

_REJECTED = re.compile(
    r"was not reloaded|contains errors|cannot be changed without|unrecognized configuration parameter"
    r"|invalid value for parameter|could not load|invalid (?:authentication|connection|entry)|no changes were applied"
)


@dataclass(frozen=True)
class Role:
    """A role that can log in.

    Attributes:
        password: Its password, or a verifier (``SCRAM-SHA-256$...``, ``md5...``) that is stored unchanged;
            `None` for no password.
        encryption: How the server stores the password.
        superuser: True for a superuser.
    """

    password: str | None = field(default=None, repr=False)
    encryption: Literal["scram-sha-256", "md5"] = "scram-sha-256"
    superuser: bool = False

    @property
    def clear_password(self) -> str | None:
        """The password; None if there is none, or if only its verifier is known."""
        is_verifier = self.password is not None and self.password.startswith(("SCRAM-SHA-256$", "md5"))
        return None if is_verifier else self.password


def as_role(role: str | Role | None) -> Role:
    """Convert a password, or `None` for no password, to a `Role`; return a `Role` unchanged."""
    return role if isinstance(role, Role) else Role(password=role)


def _quote_literal(text: str) -> str:
    """Quote an SQL string literal, for either value of `standard_conforming_strings`."""
    quoted = text.replace("'", "''")
    return "E'" + quoted.replace("\\", "\\\\") + "'" if "\\" in quoted else f"'{quoted}'"


def quote_identifier(name: str) -> str:
    """Quote an SQL identifier, or a name in pg_hba.conf, where a quoted keyword is an ordinary name."""
    return '"' + name.replace('"', '""') + '"'


def create_role(name: str, role: Role) -> list[str]:
    """Return the SQL that creates a role."""
    password = "NULL" if role.password is None else _quote_literal(role.password)
    return [
        f"SET password_encryption TO {_quote_literal(role.encryption)}",
        f"CREATE ROLE {quote_identifier(name)} LOGIN {'SUPERUSER ' if role.superuser else ''}PASSWORD {password}",
    ]


def default_hba(roles: Mapping[str, Role]) -> list[str]:
    """Return pg_hba.conf lines: SCRAM on the Unix socket and the loopback interface, MD5 for roles stored that way."""
    connections = ("local all {}", "host all {} 127.0.0.1/32", "host all {} ::1/128")
    md5_roles = [quote_identifier(name) for name, role in roles.items() if role.encryption == "md5"]
    lines = [f"{connection.format(name)} md5" for name in md5_roles for connection in connections]
    return lines + [f"{connection.format('all')} scram-sha-256" for connection in connections]


def render_hba(lines: Iterable[str]) -> bytes:
    """Return a pg_hba.conf whose first line lets the superuser log in on the Unix socket."""
    return "".join(f"{line}\n" for line in (f"local all {SUPERUSER} scram-sha-256", *lines)).encode()


def render_settings(settings: Mapping[str, str]) -> bytes:
    """Return a postgresql.conf (https://www.postgresql.org/docs/current/config-setting.html)."""
    lines = []
    for name, value in settings.items():
        quoted = str(value).replace("\\", "\\\\").replace("'", "''")
        lines.append(f"{name} = '{quoted}'\n")
    return "".join(lines).encode()


def rejections(log: str) -> list[str]:
    """Return the lines of a log that report a configuration which the server did not apply."""
    return [line for line in log.splitlines() if _REJECTED.search(line)]
