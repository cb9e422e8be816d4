"""Checks that involve several fields of a `Config`. Each raises `ConfigError` with a remedy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..errors import ConfigError
from ..x509.idna import check_host
from .enums import (
    CHANNEL_BINDING_TYPES,
    ChannelBinding,
    ClientCertMode,
    TlsMode,
    TlsNegotiation,
    TlsVerify,
    TlsVersion,
    parse_require_auth,
)
from .fields import DEFAULTS
from .token_uri import check_key_uri, is_token_uri
from .validation import check_bool, check_not_uri, check_text, check_type, has_surrogates, is_number

if TYPE_CHECKING:
    from .fields import ConfigFields

_FLAGS = [name for name, default in DEFAULTS.items() if isinstance(default, bool)]
_MAX_INT = 2**31 - 1


def check_transport(config: ConfigFields) -> None:
    """Check the timers and the flags."""
    for name in _FLAGS:
        check_bool(name, getattr(config, name))
    timeout = config.connect_timeout
    if timeout is not None and not (is_number(timeout) and 0 < timeout < math.inf):
        raise ConfigError(
            f"connect_timeout must be a positive number of seconds, not {timeout!r}",
            remedy="Use connect_timeout=None to wait without limit.",
        )
    for name in ("keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout"):
        value = getattr(config, name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MAX_INT):
            raise ConfigError(
                f"{name} must be a whole number, at least 1, not {value!r}", remedy=f"Use {name}=None for the default."
            )


def check_startup(config: ConfigFields) -> None:
    """Check the parameters and the versions of the StartupMessage."""
    if config.min_protocol_version.number > config.max_protocol_version.number:
        raise ConfigError(
            '"min_protocol_version" is greater than "max_protocol_version"',
            remedy="Set max_protocol_version=latest, or leave out min_protocol_version.",
        )
    for name in ("user", "database", "application_name", "options", "require_peer"):
        value = getattr(config, name)
        if value is not None:
            check_text(name, value)
            check_not_uri(name, value)
    for name, value in config.server_settings:
        check_text(name, value)
        check_text("the name of a server setting", name)
        folded = name.lower()  # as PostgreSQL folds the names of settings
        if folded == "client_encoding" and value.upper().replace("-", "") not in ("UTF8", "UNICODE"):
            raise ConfigError(
                f"client_encoding {value!r} is not supported", remedy="Remove client_encoding, or set it to UTF8."
            )
        if folded in ("user", "database", "application_name", "options"):
            remedy = f"Use Config({folded}=…)."
        elif folded == "replication":
            remedy = "Remove it from server_settings: replication is not supported."
        elif not name or name.startswith("_pq_."):
            remedy = "Remove it from server_settings: it is not the name of a server setting."
        else:
            continue
        raise ConfigError(f"server_settings may not contain {name!r}", remedy=remedy)


def check_tls(config: ConfigFields) -> None:
    """Check that the TLS options do not contradict each other, and that verification has roots."""
    if not isinstance(config.tls_backend, str) and not hasattr(config.tls_backend, "create_stream"):
        raise ConfigError(
            "tls_backend must be a registered name or a TlsBackend", remedy='Use tls_backend="stdlib", or leave it out.'
        )
    if config.tls_max_version is TlsVersion.TLSV1_2 and config.tls_min_version is TlsVersion.TLSV1_3:
        raise ConfigError(
            "invalid SSL protocol version range: tls_min_version is newer than tls_max_version",
            remedy="Raise tls_max_version (ssl_max_protocol_version) to TLSv1.3, or leave it out.",
        )
    if config.tls_negotiation is TlsNegotiation.DIRECT and config.tls_mode is not TlsMode.REQUIRE:
        raise ConfigError(
            f'weak sslmode "{config.tls_mode.value}" may not be used with sslnegotiation=direct '
            '(use "require", "verify-ca", or "verify-full")',
            remedy="Use tls_mode=require (sslmode=verify-full), or leave out tls_negotiation (sslnegotiation).",
        )
    if config.tls_fallback and config.tls_mode is not TlsMode.PREFER:
        raise ConfigError(
            "tls_fallback requires TlsMode.PREFER", remedy="Leave out tls_fallback, or use tls_mode=prefer."
        )
    if config.tls_verify is not TlsVerify.NONE and not config.tls_default_roots and config.tls_root_cert_path is None:
        raise ConfigError(
            "root certificates are missing: neither tls_default_roots nor tls_root_cert_path is set",
            remedy="Set tls_root_cert_path (sslrootcert), leave out tls_default_roots, or use tls_verify=none.",
        )
    name = config.tls_server_name
    if name is not None:
        check_type("tls_server_name", name, str, "a str")
        if not name:
            raise ConfigError("tls_server_name is empty", remedy="Leave out tls_server_name to use the name in host.")
        check_host("tls_server_name", name)
    if config.tls_pins and config.tls_mode is not TlsMode.REQUIRE:
        raise ConfigError(
            f"tls_pins is set, but TLS is not required (tls_mode={config.tls_mode.value})",
            remedy="Use tls_mode=require (sslmode=require), or leave out tls_pins: they need a certificate.",
        )
    _check_client_certificate(config)


def _check_client_certificate(config: ConfigFields) -> None:
    _check_secret("tls_client_key_password", config.tls_client_key_password)
    if config.tls_client_cert is None and config.tls_client_key is not None:
        raise ConfigError(
            "tls_client_key is set without tls_client_cert",
            remedy="Set tls_client_cert (sslcert) to the certificate of the key.",
        )
    if isinstance(config.tls_client_key, str) and is_token_uri(config.tls_client_key):
        check_key_uri(config.tls_client_key)
    if is_token_uri(config.tls_client_cert) and not is_token_uri(config.tls_client_key):
        raise ConfigError(
            "tls_client_cert is a certificate in a PKCS #11 token, but tls_client_key is not a key in a token",
            remedy="Set tls_client_key (sslkey) to the PKCS #11 URI of the key. It is often the same as that of the "
            "certificate.",
        )
    if config.tls_client_cert_mode is ClientCertMode.REQUIRE and config.tls_mode is TlsMode.DISABLE:
        raise ConfigError(
            "tls_client_cert_mode=require (sslcertmode), but TLS is disabled",
            remedy="Use tls_mode=require (sslmode=verify-full), or leave out tls_client_cert_mode (sslcertmode).",
        )


def _check_secret(name: str, secret: object) -> None:
    if secret is None or callable(secret):
        return
    is_wrapped = hasattr(secret, "get_secret_value")
    remedy = f"Pass its text: {name}=secret.get_secret_value()." if is_wrapped else f"Pass {name} as str or bytes."
    check_type(name, secret, str | bytes, "str, bytes or a callable that returns one", remedy)
    if isinstance(secret, str) and has_surrogates(secret):
        raise ConfigError(f"{name} contains a lone surrogate", remedy=f"Pass the exact bytes: Config({name}=b'…').")


def check_authentication(config: ConfigFields) -> None:
    """Check channel binding, SCRAM keys, the password and the authentication policy."""
    if config.channel_binding_type not in (None, *CHANNEL_BINDING_TYPES):
        raise ConfigError(
            f"unknown channel binding type {config.channel_binding_type!r}",
            remedy=f"Known values of channel_binding_type: {', '.join(CHANNEL_BINDING_TYPES)}.",
        )
    if config.channel_binding is ChannelBinding.REQUIRE:
        unix_socket = any(host.is_unix_socket for host in config.targets)
        if config.tls_mode is TlsMode.DISABLE or unix_socket:
            where = "a Unix-domain socket has no TLS" if unix_socket else "TLS is disabled"
            raise ConfigError(
                f"channel binding required, but SSL not in use ({where})",
                remedy="Leave out channel_binding=require, or connect by TCP: host=localhost."
                if unix_socket
                else "Use tls_mode=require (sslmode=verify-full), or leave out channel_binding=require.",
            )
        if config.channel_binding_type == "tls-unique" and config.tls_min_version is TlsVersion.TLSV1_3:
            raise ConfigError(
                "tls-unique is not defined for TLS 1.3, which is the oldest version allowed",
                remedy="Leave out channel_binding_type, or set tls_min_version=TLSv1.2.",
            )
    for name in ("scram_client_key", "scram_server_key"):
        key = getattr(config, name)
        if key is not None and (not isinstance(key, bytes) or len(key) != 32):
            raise ConfigError(f"{name} must be 32 bytes", remedy=f"Pass {name} as bytes; in a string it is base64.")
    if (config.scram_client_key is None) != (config.scram_server_key is None):
        raise ConfigError(
            "scram_client_key and scram_server_key must be set together",
            remedy="Set both scram_client_key and scram_server_key, or neither.",
        )
    _check_secret("password", config.password)
    for name in ("scram_min_iterations", "scram_max_iterations"):
        value = getattr(config, name)
        if not is_number(value) or not value >= 1:
            raise ConfigError(
                f"{name} must be a number, at least 1", remedy=f"Leave out {name}, or use a larger number."
            )
    if config.scram_min_iterations > config.scram_max_iterations:
        raise ConfigError(
            f"scram_min_iterations={config.scram_min_iterations} is more than "
            f"scram_max_iterations={config.scram_max_iterations}",
            remedy="Lower scram_min_iterations or raise scram_max_iterations.",
        )
    if config.require_auth is not None:
        remedy = 'Write methods separated by commas: require_auth="scram-sha-256".'
        check_type("require_auth", config.require_auth, str, "a str", remedy)
    parse_require_auth(config.require_auth)
