"""The fields of a configuration, with their defaults. `Config` documents them."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING

from ..tls.parameters import ClientCertificate, TlsParameters
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
    parse_require_auth,
)
from .host import Host

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..tls.contract import TlsBackend


@dataclass(frozen=True, kw_only=True)
class ConfigFields:
    """The base class of `Config`."""

    host: str = "localhost"
    hostaddr: str | None = None
    port: int = 5432
    hosts: tuple[Host, ...] = ()
    target_session_attrs: TargetSessionAttrs = TargetSessionAttrs.ANY
    load_balance_hosts: LoadBalanceHosts = LoadBalanceHosts.DISABLE
    user: str = ""
    database: str | None = None
    # Excluded from the hash, because a callable may not be hashable. It is still compared.
    password: str | bytes | Callable[[], str | bytes | Awaitable[str | bytes]] | None = field(
        default=None, repr=False, hash=False
    )
    passfile: str | None = None
    application_name: str | None = None
    options: str | None = None
    server_settings: tuple[tuple[str, str], ...] = ()
    min_protocol_version: ProtocolVersion = ProtocolVersion.V3_0
    max_protocol_version: ProtocolVersion = ProtocolVersion.V3_0
    connect_timeout: float | None = 10.0
    keepalives: bool = True
    keepalives_idle: int | None = None
    keepalives_interval: int | None = None
    keepalives_count: int | None = None
    tcp_user_timeout: int | None = None
    require_peer: str | None = None
    tls_mode: TlsMode = TlsMode.REQUIRE
    tls_verify: TlsVerify = TlsVerify.FULL
    tls_backend: str | TlsBackend = "stdlib"
    tls_negotiation: TlsNegotiation = TlsNegotiation.POSTGRES
    tls_server_name: str | None = None
    tls_sni: bool = True
    tls_root_cert_path: str | None = None
    tls_default_roots: bool = True
    tls_os_roots: bool = False
    tls_common_name: bool = False
    tls_pins: tuple[str, ...] = ()
    tls_groups: tuple[str, ...] = ()
    tls_ciphers: tuple[str, ...] = ()
    tls_client_cert: str | bytes | None = field(default=None, repr=False)
    tls_client_key: str | bytes | None = field(default=None, repr=False)
    tls_client_key_password: str | bytes | Callable[[], str | bytes] | None = field(
        default=None, repr=False, hash=False
    )
    tls_client_cert_mode: ClientCertMode = ClientCertMode.ALLOW
    tls_crl_path: str | None = None
    tls_crl_dir: str | None = None
    tls_min_version: TlsVersion = TlsVersion.TLSV1_2
    tls_max_version: TlsVersion | None = None
    tls_key_log_path: str | None = None
    tls_fallback: bool = False
    channel_binding: ChannelBinding = ChannelBinding.PREFER
    channel_binding_type: ChannelBindingType | None = None
    scram_key_cache: bool = True
    scram_client_key: bytes | None = field(default=None, repr=False)
    scram_server_key: bytes | None = field(default=None, repr=False)
    scram_min_iterations: int = 1
    scram_max_iterations: int = 1_000_000
    pipelining: bool = True
    require_auth: str | None = None

    def __post_init__(self) -> None:
        """Do nothing; `Config` overrides this method to check the fields."""

    def __repr__(self) -> str:
        left_out = ("host", "hostaddr", "port") if self.hosts else ()
        shown = []
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name not in left_out and (value != each.default or each.name == "host"):
                shown.append(f"{each.name}={_shown(each.name, value)}")
        return f"{type(self).__name__}({', '.join(shown)})"

    @cached_property
    def targets(self) -> tuple[Host, ...]:
        """The servers to try: `hosts`, or the server of `host`, `hostaddr` and `port`."""
        return self.hosts or (Host(self.host, self.port, self.hostaddr),)

    @cached_property
    def tls_parameters(self) -> TlsParameters:
        """The requirements on TLS. They are built once, because they are the key of the context cache."""
        certificate = None
        if self.tls_client_cert is not None and self.tls_client_cert_mode is not ClientCertMode.DISABLE:
            certificate = ClientCertificate(
                certificate=self.tls_client_cert, key=self.tls_client_key, password=self.tls_client_key_password
            )
        return TlsParameters(
            verify=self.tls_verify,
            root_cert_path=self.tls_root_cert_path,
            default_roots=self.tls_default_roots,
            min_version=self.tls_min_version,
            max_version=self.tls_max_version,
            send_server_name=self.tls_sni,
            common_name=self.tls_common_name,
            os_roots=self.tls_os_roots,
            client_certificate=certificate,
            crl_path=self.tls_crl_path,
            crl_dir=self.tls_crl_dir,
            key_log_path=self.tls_key_log_path,
            watch_certificate_request=self.tls_client_cert_mode is ClientCertMode.REQUIRE,
            groups=self.tls_groups,
            ciphers=self.tls_ciphers,
        )

    @property
    def allowed_auth(self) -> frozenset[str] | None:
        """The authentication methods that `require_auth` allows; None if it allows all."""
        return parse_require_auth(self.require_auth)


def _shown(name: str, value: object) -> str:
    """Return the text of a field's value for `repr`."""
    if name in SECRETS and not (isinstance(value, str) and name in ("tls_client_cert", "tls_client_key")):  # a path
        return "***"
    return repr(value.value if isinstance(value, Enum) else value)


#: The default of each field.
DEFAULTS = {each.name: each.default for each in fields(ConfigFields)}

#: The fields whose values are secrets, or may be. `repr` does not show them.
SECRETS = frozenset(each.name for each in fields(ConfigFields) if not each.repr)
