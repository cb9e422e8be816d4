"""This library's own keywords: fields of `Config` under their own names, for what libpq's words cannot say.

They come after libpq's and take precedence over them; an empty value is the field's default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..config.enums import CHANNEL_BINDING_TYPES, ClientCertMode, TlsMode, TlsNegotiation, TlsVerify, TlsVersion
from ..errors import ConfigError
from .keywords import OWN
from .syntax import quote, split_pairs
from .values import Setting, boolean, member, number, word

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def read_own(settings: Mapping[str, Setting], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that our own keywords name.

    Args:
        settings: Every keyword that has a value.
        defaults: Those of `Config`.

    Raises:
        ConfigError: A value is not one of the field's.
    """
    fields: dict[str, Any] = {}
    for keyword in OWN:
        setting = settings.get(keyword.name)
        if setting is not None:
            fields[keyword.name] = _READ.get(keyword.name, _text)(setting) if setting.value else defaults[keyword.name]
    return fields


def write_own(name: str, value: Any) -> str:
    """A field's value as its keyword has it.

    Raises:
        ConfigError: No string can hold it.
    """
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, tuple) and name != "server_settings":
        return ",".join(value)
    if name == "server_settings":
        if any(not setting or set(setting) & set("= \t\n\v\f\r") for setting, _ in value):
            raise unwritable("server_settings", "has a name")
        return " ".join(f"{setting}={quote(text)}" for setting, text in value)
    text = getattr(value, "value", value)
    if value is None or text == "":
        raise unwritable(name, "is empty")
    if not isinstance(text, str):
        raise unwritable(name, f"is of type {type(value).__name__}")
    return text


def unwritable(name: str, why: str) -> ConfigError:
    """Return the error for a field that no connection string can hold."""
    return ConfigError(
        f"{name} {why}, which no connection string can hold",
        remedy=f"Write the string without it, config.replace({name}=…).to_conninfo(), and pass {name} as an argument "
        "to Config.from_conninfo.",
    )


def _text(setting: Setting) -> str:
    return setting.value


def _names(setting: Setting) -> tuple[str, ...]:
    return tuple(name for name in setting.value.split(",") if name)


def _settings(setting: Setting) -> tuple[tuple[str, str], ...]:
    return tuple(split_pairs(setting.value).items())


_READ: dict[str, Callable[[Setting], Any]] = {
    "tls_mode": lambda setting: member(setting, TlsMode),
    "tls_verify": lambda setting: member(setting, TlsVerify),
    "tls_negotiation": lambda setting: member(setting, TlsNegotiation),
    "tls_client_cert_mode": lambda setting: member(setting, ClientCertMode),
    "tls_min_version": lambda setting: member(setting, TlsVersion),
    "tls_max_version": lambda setting: member(setting, TlsVersion),
    "tls_sni": boolean,
    "tls_default_roots": boolean,
    "tls_os_roots": boolean,
    "tls_common_name": boolean,
    "tls_fallback": boolean,
    "scram_key_cache": boolean,
    "pipelining": boolean,
    "tls_pins": _names,
    "tls_groups": _names,
    "tls_ciphers": _names,
    "channel_binding_type": lambda setting: word(setting, CHANNEL_BINDING_TYPES),
    "scram_min_iterations": number,
    "scram_max_iterations": number,
    "server_settings": _settings,
}
