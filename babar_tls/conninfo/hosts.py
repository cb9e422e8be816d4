"""The hosts, addresses and ports of a connection string."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..config.host import PORTS, Host
from ..errors import ConfigError
from . import paths
from .foreign_syntax import check_host
from .setting import DEFAULT, Field, refuse
from .syntax import names_secret
from .values import integer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .setting import Setting

_DEFAULT = Host()


def read_hosts(settings: Mapping[str, Setting]) -> dict[str, Field]:
    """Pair host names, addresses and ports as libpq does.

    An empty entry is the default: the port 5432; the default socket directory if a server listens in it, otherwise
    localhost. A server without a host name is verified by its address.

    Returns:
        The fields `host`, `hostaddr`, `port` and `hosts` of `Config`, as far as the settings determine them.

    Raises:
        ConfigError: The lists differ in length, or contain an invalid port or address.
    """
    given = {name: settings[name] for name in ("host", "hostaddr", "port") if name in settings and settings[name].value}
    if "hostaddr" in given and names_secret(given["hostaddr"].value):
        raise refuse(given["hostaddr"], 'could not parse network address "…"')
    names, addresses, ports = (
        given[name].value.split(",") if name in given else [] for name in ("host", "hostaddr", "port")
    )
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
    hosts = []
    for name, address, text in zip(names, addresses, ports, strict=True):
        port = integer(given["port"], text, PORTS) if text else _DEFAULT.port
        check_host(name)
        hosts.append(Host(name or address or _default_host(port), port, address or None))
    first = hosts[0]
    fields = {name: Field.by(setting, getattr(first, name)) for name, setting in given.items()}
    if "host" not in given and "hostaddr" in given:
        fields["host"] = Field.by(given["hostaddr"], first.host)
    elif "host" not in given:
        fields["host"] = Field(first.host, None, "default socket directory" if first.is_unix_socket else DEFAULT)
    if count > 1:
        fields["hosts"] = Field.by(fields["host"], tuple(hosts))
    return fields


def _default_host(port: int) -> str:
    for directory in paths.SOCKET_DIRECTORIES:
        if paths.exists(Path(directory, f".s.PGSQL.{port}")):
            return directory
    return _DEFAULT.host
