"""libpq connection strings: URIs and keyword strings, with libpq's meaning, as fields of `Config`.

https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING

In three steps, each of which knows nothing of the next: `syntax` cuts the string into keywords,
`sources.resolve` adds what a service and the environment say, and `interpret` gives the keywords a meaning.
What came from where is kept to the end: `Field` has it for each field.
"""

from __future__ import annotations

import dataclasses
import os
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..config import Config
from ..config.enums import (
    CHANNEL_BINDING_TYPES,
    ChannelBinding,
    LoadBalanceHosts,
    TargetSessionAttrs,
    TlsMode,
    TlsNegotiation,
    TlsVersion,
)
from ..config.host import Host
from ..diagnostics.tracebacks import clears_locals
from ..errors import ConfigError
from .hosts import read_hosts
from .keywords import ALIAS, KEYWORDS
from .own import read_own
from .paths import default_file, exists
from .sources import Setting, is_standalone, resolve
from .syntax import split
from .tls_options import DEFAULT, Field, Files, client_certificate, revocation, trust
from .values import (
    CONNECTION_STRING,
    check_protocol_versions,
    integer,
    member,
    number,
    refuse,
    require_auth,
    scram_key,
    secret_text,
    tls_version,
    word,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["Field", "Setting", "config_fields", "elsewhere", "interpret", "parse", "read", "resolve"]

_ARGUMENT = "argument"

_DEFAULTS = {field.name: field.default for field in dataclasses.fields(Config)}

#: Keywords whose value is the text of one field; an empty one leaves the field open.
_TEXTS = {
    "user": "user",
    "password": "password",
    "dbname": "database",
    "application_name": "application_name",
    "options": "options",
    "passfile": "passfile",
    "requirepeer": "require_peer",
    "sslpassword": "tls_client_key_password",
    "sslkeylogfile": "tls_key_log_path",
}


def _positive(setting: Setting) -> int | None:
    value = integer(setting)
    return value if value > 0 else None


def _oldest(setting: Setting) -> TlsVersion:
    return tls_version(setting) or TlsVersion.TLSV1_2


#: Keywords that are one field, and how their value is read.
_FIELDS: dict[str, tuple[str, Callable[[Setting], Any]]] = {
    "target_session_attrs": ("target_session_attrs", lambda setting: member(setting, TargetSessionAttrs)),
    "load_balance_hosts": ("load_balance_hosts", lambda setting: member(setting, LoadBalanceHosts)),
    "keepalives": ("keepalives", lambda setting: integer(setting) != 0),
    "keepalives_idle": ("keepalives_idle", _positive),
    "keepalives_interval": ("keepalives_interval", _positive),
    "keepalives_count": ("keepalives_count", _positive),
    "tcp_user_timeout": ("tcp_user_timeout", _positive),
    "sslnegotiation": ("tls_negotiation", lambda setting: member(setting, TlsNegotiation)),
    "sslsni": ("tls_sni", lambda setting: setting.value.startswith("1")),
    "ssl_min_protocol_version": ("tls_min_version", _oldest),
    "ssl_max_protocol_version": ("tls_max_version", tls_version),
    "channel_binding": ("channel_binding", lambda setting: member(setting, ChannelBinding)),
    "scram_client_key": ("scram_client_key", scram_key),
    "scram_server_key": ("scram_server_key", scram_key),
}

#: Keywords that are accepted with these values alone, which ask for nothing that this library lacks.
_HARMLESS = {
    "client_encoding": ("", "auto", "utf8", "utf-8", "unicode"),
    "replication": ("", "0", "false", "off", "no"),
}


@clears_locals
def config_fields(
    conninfo: str, *, allow_files: bool = True, environ: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """What a connection string says, as keyword arguments of `Config`: every one of them.

    Raises:
        ConfigError: The string is malformed, has an unknown keyword, or asks for something that we do not have.
    """
    fields = read(conninfo, allow_files=allow_files, environ=environ)
    return {name: field.value for name, field in fields.items()}


@clears_locals
def read(
    conninfo: str,
    *,
    allow_files: bool = True,
    environ: Mapping[str, str] | None = None,
    arguments: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Field]:
    """`resolve` and `interpret` in one, for a caller who has arguments that replace fields.

    Most arguments replace their field and nothing else. But a root file that is given counts like ``sslrootcert``: the
    chain is verified, and against that file alone; and a mode of TLS leaves nothing of ``sslmode=disable``.

    Raises:
        ConfigError: As those two do.
    """
    settings = resolve(conninfo, allow_files=allow_files, environ=environ)
    root = arguments.get("tls_root_cert_path")
    if isinstance(root, str | os.PathLike) and "tls_default_roots" not in arguments and os.fspath(root) != "system":
        settings["sslrootcert"] = Setting("sslrootcert", os.fspath(root), _ARGUMENT)
    if "tls_mode" in arguments:
        settings = _without_disable(settings)
    try:
        return interpret(settings, allow_files=allow_files, environ=environ)
    except ConfigError as error:
        if "It comes from" not in (error.remedy or ""):
            error.remedy = " ".join(filter(None, [error.remedy, elsewhere(settings.values())])) or None
        raise


def elsewhere(items: Iterable[Setting | Field]) -> str | None:
    """Which sources beside the string have a part in something, in a sentence for an error; `None` if none has."""
    here = (CONNECTION_STRING, _ARGUMENT, DEFAULT)
    sources = dict.fromkeys(item.source for item in items if item.source not in here)
    return f"Beside the string count: {'; '.join(sources)}." if sources else None


def _without_disable(settings: Mapping[str, Setting]) -> dict[str, Setting]:
    """Without sslmode, where it turns TLS off and something stronger turns it on: it says nothing of how."""
    return {
        keyword: setting
        for keyword, setting in settings.items()
        if (keyword, setting.value) != ("sslmode", TlsMode.DISABLE.value)
    }


@clears_locals
def parse(conninfo: str) -> dict[str, str]:
    """Cut a URI or a keyword string into keywords and their values.

    Raises:
        ConfigError: It is malformed, or has an unknown keyword.
    """
    return split(conninfo, KEYWORDS)


@clears_locals
def interpret(
    settings: Mapping[str, Setting], *, allow_files: bool = True, environ: Mapping[str, str] | None = None
) -> dict[str, Field]:
    """What settings mean: for every field of `Config` its value, the keyword that decides it, and who said so.

    Args:
        settings: What `resolve` found.
        allow_files: `False`: files that are there without being named are not looked for.
        environ: Where ``HOME`` is looked up.

    Raises:
        ConfigError: A value is none of the keyword's, or asks for something that we do not have.
    """
    environ = os.environ if environ is None else environ
    standalone = is_standalone(settings)
    files = Files(environ, allowed=allow_files and not standalone)
    _check_harmless(settings)
    if "tls_mode" in settings and settings["tls_mode"].value:
        settings = _without_disable(settings)
    fields = {name: Field(value) for name, value in _DEFAULTS.items()}
    for keyword, (name, read) in _FIELDS.items():
        if keyword in settings:
            fields[name] = Field.by(settings[keyword], read(settings[keyword]))
    fields.update(_texts(settings, standalone=standalone))
    fields.update(_hosts(settings, standalone=standalone))
    fields.update(_timeout(settings, standalone=standalone))
    trusted = trust(settings, files)
    fields.update(trusted)
    fields.update(revocation(settings, files, trusted))
    fields.update(client_certificate(settings, files, fields["tls_mode"].value))
    own = {name: Field.by(settings[name], value) for name, value in read_own(settings, _DEFAULTS).items()}
    fields.update(_alias(settings, plain=_may_be_plain({**fields, **own})))
    if "tls_mode" in own:  # tls_fallback is a part of what sslmode means
        fields["tls_fallback"] = Field(_DEFAULTS["tls_fallback"])
    fields.update(own)
    if files.allowed and fields["password"].value is None and fields["passfile"].value is None:
        path = default_file(".pgpass", "pgpass.conf", environ)
        if exists(path):
            fields["passfile"] = Field(str(path), "passfile", f'default file "{path}"')
    return fields


def _texts(settings: Mapping[str, Setting], *, standalone: bool) -> dict[str, Field]:
    fields = {}
    for keyword, name in _TEXTS.items():
        setting = settings.get(keyword)
        # A standalone string leaves nothing open: what it does not say is absent, and what is empty is empty.
        if setting and (setting.value or (standalone and keyword not in ("passfile", "sslkeylogfile"))):
            fields[name] = Field.by(setting, secret_text(setting) if KEYWORDS[keyword].secret else setting.value)
    fallback = settings.get("fallback_application_name")
    if fallback and fallback.value and "application_name" not in fields:
        fields["application_name"] = Field.by(fallback, fallback.value)
    policy = settings.get("require_auth")
    if policy:  # what is standalone was written by `to_conninfo`, from a value that Config has accepted
        fields["require_auth"] = Field.by(policy, policy.value if standalone else require_auth(policy))
    return fields


def _hosts(settings: Mapping[str, Setting], *, standalone: bool) -> dict[str, Field]:
    places = read_hosts(settings, standalone=standalone)
    decided_by = places.decided_by
    first = places.hosts[0]
    fields: dict[str, Field] = {
        name: Field.by(decided_by[name], getattr(first, name))
        for name in ("host", "hostaddr", "port")
        if name in decided_by
    }
    if "host" not in fields:
        fields["host"] = Field(first.host, None, "default socket directory" if places.socket_directory else DEFAULT)
    if len(places.hosts) > 1:
        fields["hosts"] = Field.by(decided_by["host"], places.hosts)
    return fields


def _timeout(settings: Mapping[str, Setting], *, standalone: bool) -> dict[str, Field]:
    setting = settings.get("connect_timeout")
    if setting is None:
        return {}
    seconds = number(setting) if standalone else float(integer(setting))  # libpq's are whole
    return {"connect_timeout": Field.by(setting, seconds if seconds > 0 else None)}


def _alias(settings: Mapping[str, Setting], *, plain: bool) -> dict[str, Field]:
    """PostgreSQL 11's word, as it was: a type that cannot be had is an error, and without TLS it is ignored.

    Where ``channel_binding`` is given too, it decides how strictly.
    """
    setting = settings.get(ALIAS)
    if setting is None:
        return {}
    binding = settings.get("channel_binding")
    if setting.value:
        fields = {"channel_binding_type": Field.by(setting, word(setting, CHANNEL_BINDING_TYPES))}
        if binding is None and not plain:
            fields["channel_binding"] = Field.by(setting, ChannelBinding.REQUIRE)
        return fields
    if binding and binding.value == ChannelBinding.REQUIRE.value:
        raise refuse(
            binding,
            f"{ALIAS} is empty, which disables channel binding, and channel_binding requires it",
            f"Leave out {ALIAS}.",
        )
    return {"channel_binding": Field.by(setting, ChannelBinding.DISABLE)}


def _may_be_plain(fields: Mapping[str, Field]) -> bool:
    """Is there no TLS by configuration, at a server that may be the one?"""
    hosts = fields["hosts"].value or (Host(fields["host"].value, hostaddr=fields["hostaddr"].value),)
    return fields["tls_mode"].value is TlsMode.DISABLE or any(host.is_unix_socket for host in hosts)


def _check_harmless(settings: Mapping[str, Setting]) -> None:
    """Keywords without a field: libpq would do something that we cannot, unless the value is one of these.

    krbsrvname, gsslib, gssdelegation and oauth_* belong to methods that need more than them to be used, and
    sslcompression to something that no TLS library does any more.
    """
    for keyword, allowed in _HARMLESS.items():
        setting = settings.get(keyword)
        if setting and setting.value.lower() not in allowed:
            raise _unsupported(setting, f"Leave out {keyword}, or use one of: {', '.join(filter(None, allowed))}.")
    gssencmode = settings.get("gssencmode")
    if gssencmode and word(gssencmode, ("disable", "prefer", "require")) == "require":
        raise _unsupported(gssencmode, "Use gssencmode=disable or gssencmode=prefer.")
    check_protocol_versions(settings.get("min_protocol_version"), settings.get("max_protocol_version"))


def _unsupported(setting: Setting, remedy: str) -> ConfigError:
    return refuse(setting, f'connection option "{setting.keyword}={setting.value}" is not supported', remedy)
