"""A case: a connection string and its servers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .world import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        parameters: The connection string's keywords; ``{name}`` stands for a file or a server's port.
        servers: The servers whose logs are compared, those first whose name `parameters` uses.
        home: The home directory's name in `world.Files`.
        setup: What the server was given for this case: its certificate, its script.
    """

    parameters: Mapping[str, str]
    servers: tuple[str, ...]
    home: str = "home_empty"
    setup: str = ""

    def get(self, keyword: str) -> str:
        """Return the value of a keyword, or an empty string."""
        return self.parameters.get(keyword, "")

    def conninfo(self, values: Mapping[str, str]) -> str:
        """Return the connection string."""
        parts = []
        for keyword, template in self.parameters.items():
            value = template.format(**values).replace("\\", "\\\\").replace("'", "\\'")
            parts.append(f"{keyword}='{value}'" if not value or set(value) & set(" \\'") else f"{keyword}={value}")
        return " ".join(parts)

    def __str__(self) -> str:
        shown = " ".join(f"{keyword}={value}" for keyword, value in self.parameters.items() if keyword not in _OBVIOUS)
        home = "" if self.home == "home_empty" else f" {self.home}"
        return f"[{self.setup or '+'.join(self.servers)}{home}] {shown}"


_OBVIOUS = frozenset(["gssencmode"])


def tcp(server: str, **keywords: str | None) -> dict[str, str]:
    """Return the keywords of a connection string for a server over TCP; `None` omits a keyword."""
    keywords = {
        "host": "localhost",
        "hostaddr": "127.0.0.1",
        "port": f"{{{server}}}",
        "dbname": "postgres",
        "password": PASSWORD,
        "gssencmode": "disable",
        **keywords,
    }
    return {keyword: value for keyword, value in keywords.items() if value is not None}
