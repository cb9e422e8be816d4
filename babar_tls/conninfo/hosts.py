"""The lists of hosts, addresses and ports that a connection string names, as `Host` values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..config.host import Host
from ..errors import ConfigError
from . import paths
from .foreign_syntax import check_host
from .syntax import names_secret
from .values import Setting, as_integer, refuse

if TYPE_CHECKING:
    from collections.abc import Mapping


_DEFAULT = Host()


@dataclass(frozen=True)
class Places:
    """Where to connect.

    Attributes:
        hosts: The servers, at least one.
        decided_by: The settings that a field follows from, by its name; one that is absent has the default.
        socket_directory: The first host is the default directory of sockets, because a server listens there.
    """

    hosts: tuple[Host, ...]
    decided_by: dict[str, Setting]
    socket_directory: bool = False


def read_hosts(settings: Mapping[str, Setting], *, standalone: bool) -> Places:
    """Pair the lists up as libpq does.

    An entry that is empty is the default one: where there is no host, the socket directory in which a server listens,
    else localhost; a `standalone` string knows nothing of directories. A server known by its address alone is
    verified by it.

    Raises:
        ConfigError: The lists differ in length, or hold what is no port or no address.
    """
    given = {name: settings[name] for name in ("host", "hostaddr", "port") if name in settings}
    given = {name: setting for name, setting in given.items() if setting.value}
    if "hostaddr" in given and names_secret(given["hostaddr"].value):
        raise refuse(given["hostaddr"], 'could not parse network address "…"')
    names, addresses, ports = (given[name].value.split(",") if name in given else [] for name in _KEYWORDS)
    if names and addresses and len(names) != len(addresses):
        raise ConfigError(
            f"could not match {len(names)} host names to {len(addresses)} hostaddr values",
            remedy="Write as many entries in hostaddr as in host; an entry of hostaddr may be empty.",
        )
    count = len(addresses) or len(names) or 1
    if len(ports) > 1 and len(ports) != count:
        raise ConfigError(
            f"could not match {len(ports)} port numbers to {count} hosts",
            remedy="Write one port for all hosts, or as many entries in port as in host.",
        )
    names, addresses = names or [""] * count, addresses or [""] * count
    ports = ports * count if len(ports) == 1 else ports or [""] * count
    numbers = [_port(given["port"], port) if port else _DEFAULT.port for port in ports]
    hosts = []
    for name, address, port in zip(names, addresses, numbers, strict=True):
        if not standalone and not name.startswith(("/", "@")):
            check_host(name)
        host = name or address or (_DEFAULT.host if standalone else _default_host(port))
        hosts.append(Host(host, port, address or None))
    decided_by = dict(given)
    if "host" not in given and "hostaddr" in given:
        decided_by["host"] = given["hostaddr"]
    return Places(tuple(hosts), decided_by, not (names[0] or addresses[0]) and hosts[0].is_unix_socket)


_KEYWORDS = ("host", "hostaddr", "port")


_PORTS = "A port is a whole number from 1 to 65535."


def _port(setting: Setting, text: str) -> int:
    port = as_integer(setting, text, _PORTS)
    if not 1 <= port <= 65535:
        raise refuse(setting, f'invalid port number: "{text}"', _PORTS)
    return port


def _default_host(port: int) -> str:
    for directory in paths.SOCKET_DIRECTORIES:
        if paths.exists(Path(directory, f".s.PGSQL.{port}")):
            return directory
    return _DEFAULT.host
