"""`Host`: one server of a configuration."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..diagnostics.escaping import visible
from ..errors import ConfigError
from ..x509.idna import check_host
from .validation import check_address, check_file_name, check_not_uri, check_text, check_type

PORTS = "A port is a whole number from 1 to 65535."

_PORT = re.compile("[0-9]{1,5}")
_SHOWN = 300  # characters of a host or of a path in a message


@dataclass(frozen=True)
class Host:
    """A server in `Config.hosts`.

    Attributes:
        host: Host name, IP address, or the directory of a Unix-domain socket. The certificate is
            verified for this name.
        port: TCP port, or the number in the socket's file name. The digits of a `str` are converted.
        hostaddr: IP address to connect to; `host` is then not resolved.

    Raises:
        ConfigError: A value is invalid.
    """

    host: str = "localhost"
    port: int = 5432
    hostaddr: str | None = None

    if TYPE_CHECKING:  # the constructor of the dataclass, with the types that it accepts

        def __init__(self, host: str = "localhost", port: int | str = 5432, hostaddr: str | None = None) -> None: ...

    def __post_init__(self) -> None:
        if not self.host:
            raise ConfigError("host is empty", remedy="Set host to a host name, an IP address or a socket directory.")
        check_type("host", self.host, str, "a str")
        port: object = self.port
        if isinstance(port, str) and _PORT.fullmatch(port):  # from an environment variable
            port = int(port)
            object.__setattr__(self, "port", port)
        if isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= 65535:
            raise ConfigError(f'invalid port number: "{port}"', remedy=PORTS)
        check_address(self.hostaddr)
        check_text("host", self.host, surrogates=self.is_unix_socket)
        if self.is_unix_socket:
            check_file_name("host", self.host)
        else:
            check_not_uri("host", self.host)
            if "@" in self.host[1:]:  # the text before it may be a password: not shown, not sent to the DNS
                raise ConfigError(
                    'host contains an "@"',
                    remedy="Set host to the host name only, and set user and password separately.",
                )
            check_host("host", self.host)

    def __repr__(self) -> str:
        port = "" if self.port == 5432 else f", {self.port}"
        hostaddr = "" if self.hostaddr is None else f", hostaddr={self.hostaddr!r}"
        return f"Host({self.host!r}{port}{hostaddr})"

    @property
    def is_unix_socket(self) -> bool:
        """True if `host` is the directory of a socket or an abstract name."""
        return self.hostaddr is None and self.host[:1] in ("/", "@")

    @property
    def socket_path(self) -> str:
        """The path of the Unix-domain socket; in the abstract namespace it begins with a NUL."""
        path = f"{self.host}/.s.PGSQL.{self.port}"
        return "\0" + path[1:] if path.startswith("@") else path

    @property
    def shown_path(self) -> str:
        """The path of the Unix-domain socket for messages; an abstract name begins with ``@``."""
        return visible(f"{self.host}/.s.PGSQL.{self.port}", limit=_SHOWN)

    def describe(self, address: str | None = None) -> str:
        """Return the server's name as in libpq's messages, with the `address` to which the host name was resolved."""
        if self.is_unix_socket:
            return f'server on socket "{self.shown_path}"'
        address = address or self.hostaddr
        shown = f" ({address})" if address and address != self.host else ""
        return f'server at "{visible(self.host, limit=_SHOWN)}"{shown}, port {self.port}'
