"""The types that the constructor of `Config` accepts. The types of its attributes are in `fields`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias, TypedDict

if TYPE_CHECKING:
    import os
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from ..tls.contract import TlsBackend
    from .enums import (
        ChannelBinding,
        ChannelBindingType,
        ClientCertMode,
        LoadBalanceHosts,
        ProtocolVersion,
        TargetSessionAttrs,
        TlsMode,
        TlsNegotiation,
        TlsVerify,
        TlsVersion,
    )
    from .host import Host

_Path: TypeAlias = "str | os.PathLike[str]"
_Names: TypeAlias = "str | Iterable[str]"
_Protocol: TypeAlias = "ProtocolVersion | Literal['3.0', '3.2', 'latest']"
_Tls: TypeAlias = "TlsVersion | Literal['TLSv1.2', 'TLSv1.3']"


class DriverOptions(TypedDict, total=False):
    """The fields of `Config`, except for `server_settings`, which drivers have as a parameter too."""

    host: str
    hostaddr: str | None
    port: int | str
    hosts: Iterable[Host]
    target_session_attrs: (
        TargetSessionAttrs | Literal["any", "read-write", "read-only", "primary", "standby", "prefer-standby"]
    )
    load_balance_hosts: LoadBalanceHosts | Literal["disable", "random"]
    user: str | None
    database: str | None
    password: str | bytes | Callable[[], str | bytes | Awaitable[str | bytes]] | None
    passfile: _Path | None
    application_name: str | None
    options: str | None
    min_protocol_version: _Protocol
    max_protocol_version: _Protocol
    connect_timeout: float | None
    keepalives: bool
    keepalives_idle: int | None
    keepalives_interval: int | None
    keepalives_count: int | None
    tcp_user_timeout: int | None
    require_peer: str | None
    tls_mode: TlsMode | Literal["disable", "allow", "prefer", "require"]
    tls_verify: TlsVerify | Literal["full", "ca", "none"]
    tls_backend: str | TlsBackend
    tls_negotiation: TlsNegotiation | Literal["postgres", "direct"]
    tls_server_name: str | None
    tls_sni: bool
    tls_root_cert_path: _Path | None
    tls_default_roots: bool
    tls_os_roots: bool
    tls_common_name: bool
    tls_pins: Iterable[str]
    tls_groups: _Names
    tls_ciphers: _Names
    tls_client_cert: _Path | bytes | None
    tls_client_key: _Path | bytes | None
    tls_client_key_password: str | bytes | Callable[[], str | bytes] | None
    tls_client_cert_mode: ClientCertMode | Literal["disable", "allow", "require"]
    tls_crl_path: _Path | None
    tls_crl_dir: _Path | None
    tls_min_version: _Tls
    tls_max_version: _Tls | None
    tls_key_log_path: _Path | None
    tls_fallback: bool
    channel_binding: ChannelBinding | Literal["disable", "prefer", "require"]
    channel_binding_type: ChannelBindingType | None
    scram_key_cache: bool
    scram_client_key: bytes | None
    scram_server_key: bytes | None
    scram_min_iterations: int
    scram_max_iterations: int
    pipelining: bool
    require_auth: str | None


class ConfigOptions(DriverOptions, total=False):
    """The fields of `Config` as its constructor accepts them, for functions that pass them on (PEP 692).

    ::

        def connect_to_shop(**overrides: Unpack[ConfigOptions]) -> Session:
            return connect("service=shop", **overrides)
    """

    server_settings: Mapping[str, str] | Iterable[tuple[str, str]]
