"""Conversion of settings to fields of `Config`.

https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
"""

from __future__ import annotations

import os
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..config.enums import (
    CHANNEL_BINDING_TYPES,
    ChannelBinding,
    ProtocolVersion,
    TlsMode,
    TlsVersion,
)
from ..config.fields import DEFAULTS
from ..config.host import Host
from ..diagnostics.tracebacks import clears_locals
from ..errors import ConfigError
from . import values
from .hosts import read_hosts
from .keywords import ALIAS, LIBPQ, OWN
from .paths import default_file, exists
from .setting import CONNECTION_STRING, DEFAULT, Field, Setting, refuse
from .sources import resolve
from .syntax import split_pairs
from .tls_options import read_tls_options

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_ARGUMENT = "argument"


#: The readers of keywords whose values follow libpq's own rules.
_READERS: dict[str, Callable[[Setting], Any]] = {
    "connect_timeout": values.seconds,
    "password": values.secret_text,
    "sslpassword": values.secret_text,
    "keepalives": lambda setting: values.integer(setting) != 0,
    "keepalives_idle": values.positive,
    "keepalives_interval": values.positive,
    "keepalives_count": values.positive,
    "tcp_user_timeout": values.positive,
    "sslsni": lambda setting: setting.value.startswith("1"),
    "ssl_min_protocol_version": values.tls_version,
    "ssl_max_protocol_version": values.tls_version,
    "require_auth": values.require_auth,
    "scram_client_key": values.scram_key,
    "scram_server_key": values.scram_key,
    "tls_max_version": lambda setting: values.member(setting, TlsVersion),
    "channel_binding_type": lambda setting: values.word(setting, CHANNEL_BINDING_TYPES),
    "server_settings": lambda setting: tuple(split_pairs(setting.value).items()),
}

#: The readers of all other keywords, by the type of their field's default value.
_READERS_BY_TYPE: dict[type, Callable[[Setting], Any]] = {bool: values.boolean, tuple: values.names, int: values.number}

#: The keywords that set exactly one field, with that field.
_LIBPQ_FIELDS = {keyword.name: keyword.field for keyword in LIBPQ if keyword.field is not None}
_OWN_FIELDS = {keyword.name: keyword.name for keyword in OWN}

#: Fields, and keywords with the same names, that take part in no contradiction.
_SECRETS = {"password", "passfile", "scram_client_key", "scram_server_key"}

#: The values that libpq accepts for keywords without a field.
_KNOWN = {
    "gssencmode": ("disable", "prefer", "require"),
}

#: The values of keywords without a field that this library supports.
_SUPPORTED = {
    "client_encoding": ("", "auto", "utf8", "utf-8", "unicode"),
    "replication": ("", "0", "false", "off", "no"),
    "gssencmode": ("disable", "prefer"),
}


@clears_locals
def read(
    conninfo: str,
    *,
    allow_files: bool = True,
    environ: Mapping[str, str] | None = None,
    arguments: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Field]:
    """Read a connection string: `resolve` and `interpret`.

    Args:
        conninfo: A URI or a keyword string.
        allow_files: See `resolve`.
        environ: See `resolve`.
        arguments: Fields of `Config` that the caller sets. Most of them only replace their field. A root file has the
            same effect as ``sslrootcert``: the chain is verified, and only that file is trusted. With a TLS mode,
            ``sslmode=disable`` is ignored. `min_protocol_version` has the same effect as the keyword.

    Returns:
        The fields that the connection string determines; the others have the defaults of `Config`.

    Raises:
        ConfigError: The string is malformed, has an unknown keyword, or requires a feature that is missing.
    """
    environ = os.environ if environ is None else environ
    settings = resolve(conninfo, allow_files=allow_files, environ=environ)
    root = arguments.get("tls_root_cert_path")
    if isinstance(root, str | os.PathLike) and "tls_default_roots" not in arguments and os.fspath(root) != "system":
        settings["sslrootcert"] = Setting("sslrootcert", os.fspath(root), _ARGUMENT)
    oldest = arguments.get("min_protocol_version")
    if isinstance(oldest, ProtocolVersion | str):
        text = oldest if isinstance(oldest, str) else oldest.value
        settings["min_protocol_version"] = Setting("min_protocol_version", text, _ARGUMENT)
    if "tls_mode" in arguments and "sslmode" in settings and settings["sslmode"].value == TlsMode.DISABLE.value:
        del settings["sslmode"]
    try:
        return interpret(settings, allow_files=allow_files, environ=environ)
    except ConfigError as error:
        add_sources(error, settings)
        raise


def add_sources(error: ConfigError, items: Mapping[str, Setting | Field]) -> None:
    """Add the sources other than the connection string to the remedy, unless the remedy names the source already.

    Args:
        error: The error. If it names parameters, only their sources are added, otherwise those of all but secrets.
        items: Settings by keyword, or fields by name.
    """
    remedy = error.remedy or ""
    text = f"{error.message} {remedy}"
    named = [item for name, item in items.items() if name in text or (item.keyword or name) in text]
    concerned = named or [item for name, item in items.items() if name not in _SECRETS]
    sources = dict.fromkeys(
        item.source for item in concerned if item.source not in (CONNECTION_STRING, _ARGUMENT, DEFAULT)
    )
    if sources and "It comes from" not in remedy:
        error.remedy = f"{remedy} Other sources of parameters: {'; '.join(sources)}.".lstrip()


@clears_locals
def interpret(
    settings: Mapping[str, Setting], *, allow_files: bool = True, environ: Mapping[str, str] | None = None
) -> dict[str, Field]:
    """Return the fields of `Config` that settings determine.

    Args:
        settings: The result of `resolve`.
        allow_files: False to use no default files.
        environ: The environment, for ``HOME``; by default that of the process.

    Raises:
        ConfigError: A value is invalid, or requires a feature that is missing.
    """
    environ = os.environ if environ is None else environ
    _check_unsupported(settings)
    fields = _read_each(settings, _LIBPQ_FIELDS)
    if "connect_timeout" in fields and fields["connect_timeout"].value <= 0:
        fields["connect_timeout"] = Field.by(settings["connect_timeout"], None)
    oldest = fields.get("min_protocol_version")
    if oldest and oldest.value is not ProtocolVersion.V3_0 and "max_protocol_version" not in fields:
        fields["max_protocol_version"] = Field.by(settings["min_protocol_version"], ProtocolVersion.LATEST)
    fallback_name = settings.get("fallback_application_name")
    if fallback_name and fallback_name.value and "application_name" not in fields:
        fields["application_name"] = Field.by(fallback_name, fallback_name.value)
    fields.update(read_hosts(settings))
    fields.update(read_tls_options(settings, environ if allow_files else None))
    own = _read_each({name: setting for name, setting in settings.items() if setting.value}, _OWN_FIELDS)
    own_names = _OWN_FIELDS.keys() & settings.keys()
    # An empty value selects the default. tls_mode replaces sslmode, which has set tls_fallback too.
    for name in own_names | ({"tls_fallback"} if "tls_mode" in own_names else set()):
        fields.pop(name, None)
    fields.update(own)
    if ALIAS in settings:
        alias = _read_alias(settings, fields)
        fields.update({name: field for name, field in alias.items() if name not in own_names})
    if allow_files and not fields.keys() & {"password", "passfile"}:
        path = default_file(".pgpass", "pgpass.conf", environ)
        if exists(path):
            fields["passfile"] = Field(str(path), "passfile", f'default file "{path}"')
    return fields


def _read_each(settings: Mapping[str, Setting], keywords: Mapping[str, str]) -> dict[str, Field]:
    """Return the fields of keywords that set exactly one. A reader returns None if the value selects the default."""
    fields = {}
    for keyword, field in keywords.items():
        setting = settings.get(keyword)
        if setting is None:
            continue
        default = DEFAULTS[field]
        reader = _READERS.get(keyword) or _READERS_BY_TYPE.get(type(default))
        if reader is not None:
            value = reader(setting)
        elif isinstance(default, Enum):
            value = values.member(setting, type(default))
        else:
            value = setting.value or None
        if value is not None:
            fields[field] = Field.by(setting, value)
    return fields


def _read_alias(settings: Mapping[str, Setting], fields: Mapping[str, Field]) -> dict[str, Field]:
    """Read the keyword of PostgreSQL 11: a binding type requires channel binding, and an empty value disables it.

    Without TLS the type has no effect. ``channel_binding`` in the settings takes precedence.
    """
    setting, binding = settings[ALIAS], settings.get("channel_binding")
    if setting.value:
        found = {"channel_binding_type": Field.by(setting, values.word(setting, CHANNEL_BINDING_TYPES))}
        if binding is None and not _may_be_plain(fields):
            found["channel_binding"] = Field.by(setting, ChannelBinding.REQUIRE)
        return found
    if binding and binding.value == ChannelBinding.REQUIRE.value:
        raise refuse(
            binding,
            f"{ALIAS} is empty, which disables channel binding, but channel_binding=require is set",
            f"Leave out {ALIAS}.",
        )
    return {"channel_binding": Field.by(setting, ChannelBinding.DISABLE)}


def _may_be_plain(fields: Mapping[str, Field]) -> bool:
    """Return True if TLS is disabled, or if one of the hosts is a Unix-domain socket."""
    hosts = (
        fields["hosts"].value
        if "hosts" in fields
        else (Host(fields["host"].value, 1, fields["hostaddr"].value if "hostaddr" in fields else None),)
    )
    disabled = "tls_mode" in fields and fields["tls_mode"].value is TlsMode.DISABLE
    return disabled or any(host.is_unix_socket for host in hosts)


def _check_unsupported(settings: Mapping[str, Setting]) -> None:
    """Refuse keywords without a field if their value requires a feature that is missing.

    krbsrvname, gsslib, gssdelegation and oauth_* are accepted: they have no effect unless other keywords select their
    authentication method. sslcompression is accepted too: no TLS library supports compression.
    """
    for keyword, known in _KNOWN.items():
        if keyword in settings:
            values.word(settings[keyword], known)
    for keyword, supported in _SUPPORTED.items():
        setting = settings.get(keyword)
        if setting and setting.value.lower() not in supported:
            raise refuse(
                setting,
                f'connection option "{keyword}={setting.value}" is not supported',
                f"Leave out {keyword}, or use one of: {', '.join(filter(None, supported))}.",
            )
