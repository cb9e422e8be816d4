"""Fields of `Config` as a connection string: libpq's keywords, and the names of fields without a keyword of libpq."""

from __future__ import annotations

import base64
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from .foreign_syntax import pasted_character
from .keywords import LIBPQ, OWN
from .syntax import quote

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..config.host import Host

#: Fields that are written as the field of `Config` although libpq has a keyword: an empty value of that keyword selects
#: a default file, and sslkey cannot name a file with a colon.
_FILES = frozenset(["tls_client_cert", "tls_client_key", "tls_crl_path", "tls_crl_dir"])

#: Fields that ``sslmode`` and ``sslrootcert`` of the environment, or a default file, could set to another value.
_OPEN = _FILES | {
    "tls_mode",
    "tls_verify",
    "tls_fallback",
    "tls_root_cert_path",
    "tls_default_roots",
    "tls_common_name",
}

_WRITTEN_AS = {keyword.name: keyword.name for keyword in OWN} | {
    keyword.field: keyword.name for keyword in LIBPQ if keyword.field is not None and keyword.field not in _FILES
}
_ALWAYS = _OPEN | {keyword.field for keyword in LIBPQ if keyword.envvar is not None}


def format_conninfo(hosts: tuple[Host, ...], fields: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """Return a keyword string that `interpret` converts to the same fields.

    A field with its default value is written only if an environment variable or a default file could set it.

    Args:
        hosts: The servers.
        fields: All other fields of `Config`, in the order in which they are written.
        defaults: The default of each field.

    Raises:
        ConfigError: A field has a value that a string cannot contain.
    """
    pairs = format_hosts(hosts)
    for name, value in fields.items():
        if name in _ALWAYS or value != defaults[name]:
            pairs[_WRITTEN_AS[name]] = format_field(name, value)
    return " ".join(f"{keyword}={quote(text)}" for keyword, text in pairs.items())


def format_hosts(hosts: tuple[Host, ...]) -> dict[str, str]:
    """Return the values of ``host``, ``hostaddr`` and ``port``.

    Raises:
        ConfigError: A list of hosts cannot contain a name.
    """
    for host in hosts:
        if "," in host.host or "," in (host.hostaddr or ""):
            raise _unwritable("host", "contains a comma")
        if pasted_character(host.host) is not None:
            raise _unwritable("host", "contains a quote, a space or an invisible character")
    return {
        "host": ",".join(host.host for host in hosts),
        "hostaddr": ",".join(host.hostaddr or "" for host in hosts) if any(host.hostaddr for host in hosts) else "",
        "port": ",".join(str(host.port) for host in hosts),
    }


def format_field(name: str, value: Any) -> str:
    """Return the value of a field of `Config` as the value of its keyword. None becomes an empty text.

    Raises:
        ConfigError: A string cannot contain the value. The error does not show it.
    """
    text: object
    if name == "connect_timeout":
        text = _format_seconds(value)
    elif value is None:
        text = ""
    elif isinstance(value, bool):
        text = str(int(value))
    elif isinstance(value, int | float):
        text = repr(value)
    elif name in ("scram_client_key", "scram_server_key"):
        text = base64.b64encode(value).decode()
    elif name == "server_settings":
        if any(not setting or set(setting) & set("= \t\n\v\f\r") for setting, _ in value):
            raise _unwritable(name, "contains an invalid name")
        text = " ".join(f"{setting}={quote(value)}" for setting, value in value)
    elif isinstance(value, tuple):
        text = ",".join(value)
    else:
        text = value.value if isinstance(value, Enum) else value
        if not isinstance(text, str):
            raise _unwritable(name, f"is of type {type(value).__name__}")
        if not text:
            raise _unwritable(name, "is empty")
    if "\0" in text:
        raise _unwritable(name, "contains a NUL")
    return text


def _format_seconds(value: float | None) -> str:
    if value is None:
        return "0"
    if value == int(value) < 2**31:
        return str(int(value))
    text = format(Decimal(repr(value)), "f")
    return text if "." in text else text + ".0"


def _unwritable(name: str, why: str) -> ConfigError:
    """Return the error for a field whose value a connection string cannot contain."""
    return ConfigError(
        f"{name} {why}, which a connection string cannot represent",
        remedy=f"Write the string without it, config.replace({name}=…).to_conninfo(), and pass {name} as an argument "
        "to Config.from_conninfo.",
    )
