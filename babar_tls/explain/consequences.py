"""Consequences of a configuration: where it connects, what is verified, which secrets may be sent.

They are computed without a connection, by the rules that a connection follows, from a `Config` and this machine: its
backends, its trust store, the password file.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from ..backends import backend_names, get_backend
from ..config.enums import (
    ChannelBinding,
    ClientCertMode,
    LoadBalanceHosts,
    TargetSessionAttrs,
    TlsMode,
    TlsNegotiation,
    TlsVerify,
)
from ..config.token_uri import is_token_uri
from ..conninfo.passfile import is_open_to_others
from ..diagnostics.tracebacks import clears_locals
from ..errors import BackendUnavailable, ConfigError
from ..protocol.channel_binding import DEFAULT_TYPE
from ..protocol.policy import names_cleartext
from ..tls.default_roots import default_roots
from .problems import find_lacks
from .weaknesses import has_tls, is_allowed, is_always_proven, is_only_local, is_proven

if TYPE_CHECKING:
    from ..config import Config
    from ..config.host import Host


@clears_locals
def find_consequences(config: Config) -> dict[str, str]:
    """Return the consequences of `config` by topic, in the order of a connect.

    Raises:
        BackendUnavailable: TLS may be used, and the backend's name is unknown.
    """
    consequences = {
        "Server": _server(config),
        "Encryption": _by_kind(config, local=_NOT_NEEDED, remote=_encryption(config)),
        "Backend": _backend_fault(config),
        "Verification": _verification(config),
        "Trusted roots": _roots(config),
        "Client certificate": _client_certificate(config),
        "Authentication": _authentication(config),
        "Cleartext password": _cleartext(config),
        "MD5 password": _md5(config),
        "Channel binding": _by_kind(
            config, local="Never: a Unix-domain socket has no TLS.", remote=_channel_binding(config)
        ),
        "After a failure": _failure(config),
    }
    return {topic: text for topic, text in consequences.items() if text}


def _first(*texts: tuple[bool, str]) -> str:
    """Return the first text whose condition is true."""
    return next(text for applies, text in texts if applies)


def _by_kind(config: Config, *, local: str, remote: str) -> str:
    """Return the text for Unix-domain sockets, for TCP, or both if there are hosts of both kinds."""
    if is_only_local(config):
        return local
    if not any(host.is_unix_socket for host in config.targets):
        return remote
    return f"TCP: {remote[0].lower()}{remote[1:]} Socket: {local[0].lower()}{local[1:]}"


# The connection ----------------------------------------------------------------------------------------------------


def _place(host: Host) -> str:
    if host.is_unix_socket:
        return f"socket {host.host}/.s.PGSQL.{host.port}"
    address = f" at {host.hostaddr}" if host.hostaddr and host.hostaddr != host.host else ""
    return f"{host.host}{address}, port {host.port}"


def _server(config: Config) -> str:
    places = "; then ".join(map(_place, config.targets))
    each = "" if len(config.targets) == 1 else " each"
    timeout, session = config.connect_timeout, config.target_session_attrs
    text = f"{places}; {'no timeout' if timeout is None else f'timeout {timeout:g} s{each}'}."
    if config.load_balance_hosts is LoadBalanceHosts.RANDOM:
        text += " Hosts and their addresses are tried in random order."
    return text + _SESSIONS.get(session, f" The session must be {session.value}.")


_SESSIONS = {
    TargetSessionAttrs.ANY: "",
    TargetSessionAttrs.PREFER_STANDBY: " A standby is preferred; any other server is accepted if no standby is found.",
}
_NOT_NEEDED = "Not needed: traffic on a Unix-domain socket does not leave this machine, so the TLS mode has no effect."

_MODES = {
    TlsMode.DISABLE: "Never: everything is sent in plain text.",
    TlsMode.ALLOW: "Only if the server refuses a plain connection; otherwise everything is sent in plain text.",
    TlsMode.PREFER: "If the server offers TLS; otherwise everything is sent in plain text.",
    TlsMode.REQUIRE: "Always: without TLS the connection fails.",
}
_FALLBACK = (
    "If the server offers TLS; in plain text if it does not, if TLS fails or if the server refuses the connection."
)


def _encryption(config: Config) -> str:
    text = _FALLBACK if config.tls_fallback else _MODES[config.tls_mode]
    if config.tls_mode is TlsMode.DISABLE:
        return text
    oldest, newest = config.tls_min_version.value, config.tls_max_version
    range_end = "or newer" if newest is None else f"to {newest.value}"
    versions = f"only {oldest}" if newest is config.tls_min_version else f"{oldest} {range_end}"
    start = "from the first byte" if config.tls_negotiation is TlsNegotiation.DIRECT else "after SSLRequest"
    return f"{text} TLS versions: {versions}. TLS starts {start}, with the backend {_backend(config)}."


def _backend(config: Config) -> str:
    backend = config.tls_backend
    return backend if isinstance(backend, str) else backend.name


def _backend_fault(config: Config) -> str:
    """Return the reason why the backend cannot be used; an empty text if it can be used.

    Raises:
        BackendUnavailable: The backend's name is unknown.
    """
    if not has_tls(config):
        return ""
    try:
        capabilities = get_backend(config.tls_backend).capabilities
    except BackendUnavailable as error:
        if _backend(config) not in backend_names():
            raise
        return f"{error.message}. Connections will fail."
    missing = ", or ".join(lack.what for lack in find_lacks(config, capabilities))
    return f"{_backend(config)} cannot {missing}: connections with TLS will fail." if missing else ""


def _verification(config: Config) -> str:
    if not has_tls(config):
        return "" if is_only_local(config) else "Nothing: without TLS the server sends no certificate."
    pins = f" The certificate must match one of {len(config.tls_pins)} pinned fingerprints." if config.tls_pins else ""
    if config.tls_verify is TlsVerify.NONE:
        return f"Neither the certificate chain nor the name.{pins}" if pins else "Nothing: any certificate is accepted."
    lists = " and ".join(filter(None, (config.tls_crl_path, config.tls_crl_dir)))
    revocation = f" No certificate of the chain may be revoked by the CRLs in {lists}." if lists else ""
    if config.tls_verify is TlsVerify.CA:
        text = "The certificate chain, but not the name: any certificate of a trusted CA is accepted."
        return f"{text}{pins}{revocation}"
    hosts = dict.fromkeys(host.host for host in config.targets if not host.is_unix_socket)
    name = " or ".join(hosts) if config.tls_server_name is None else config.tls_server_name
    rules = " (if the certificate has no alternative name, the common name is used)" if config.tls_common_name else ""
    hidden = "" if config.tls_sni else " The name is not sent to the server."
    return f"The certificate chain and the name {name}{rules}.{hidden}{pins}{revocation}"


def _roots(config: Config) -> str:
    if not has_tls(config) or config.tls_verify is TlsVerify.NONE:
        return ""
    own = config.tls_root_cert_path
    if not config.tls_default_roots:
        return f"Only those in {own}."
    default = "the operating system's verifier" if config.tls_os_roots else _default_roots()
    return f"Those in {own}, and {default}." if own else f"{default[0].upper()}{default[1:]}."


def _default_roots() -> str:
    try:
        roots = default_roots()
    except ConfigError:
        return "the default trust store, which was not found on this machine"
    files = " and ".join(filter(None, (roots.cafile, roots.capath)))
    return f"the default trust store: {files} (found through {roots.source})"


def _client_certificate(config: Config) -> str:
    source, is_required = config.tls_client_cert, config.tls_client_cert_mode is ClientCertMode.REQUIRE
    if not has_tls(config) or config.tls_client_cert_mode is ClientCertMode.DISABLE:
        return ""
    if source is None:
        return "None: a server that accepts the client without a certificate is refused." if is_required else ""
    name = source if isinstance(source, str) else "A certificate in memory"
    key = config.tls_client_key
    if isinstance(key, str) and is_token_uri(key):
        name += f" (its key is in a token: {key})"
    return f"{name}: the server must request it." if is_required else f"{name}, if the server requests one."


# Authentication ----------------------------------------------------------------------------------------------------


def _credentials(config: Config) -> str:
    if config.scram_client_key is not None:
        return "with the given SCRAM keys"
    if callable(config.password):
        return "with a password from a callable"
    if config.password is not None:
        return "with the given password"
    return "without a password" if config.passfile is None else _from_file(config, config.passfile)


def _from_file(config: Config, path: str) -> str:
    """Describe the password from the password file. A file that would cause a log entry is not opened."""
    try:
        mode = Path(path).stat().st_mode
    except (OSError, ValueError):
        return f"without a password: {path} cannot be read"
    if not stat.S_ISREG(mode):
        return f"without a password: {path} is not a plain file"
    if is_open_to_others(mode):
        return f"without a password: {path} is not used because other users can read it"
    if not os.access(path, os.R_OK):
        return f"without a password: {path} cannot be read"
    missing = [host for host in config.targets if config.at(host).find_password() is None]
    if not missing:
        return f"with a password from {path}"
    if len(missing) == len(config.targets):
        return f"without a password: {path} has no entry for this connection"
    return f"with a password from {path}, which has no entry for {' or '.join(map(_place, missing))}"


_METHODS = {
    "scram-sha-256": "scram-sha-256",
    "md5": "md5",
    "password": "the password itself",
    "none": "no authentication (trust, or a certificate)",
}


def _authentication(config: Config) -> str:
    methods = ", ".join(words for method, words in _METHODS.items() if is_allowed(config, method))
    return f"User {config.user}, {_credentials(config)}. The server may request: {methods or 'no supported method'}."


def _cleartext(config: Config) -> str:
    if not is_allowed(config, "password"):
        return _not_allowed(config, "it")
    named, is_required = names_cleartext(config), config.tls_mode is TlsMode.REQUIRE
    request = "If the server requests it"
    remote = _first(
        (named and not is_required, f"{request}, with or without TLS, because require_auth names password."),
        (named and is_proven(config), f"{request}, inside TLS to a verified server."),
        (named, f"{request}, inside TLS to a server that is not verified, because require_auth names password."),
        (has_tls(config) and is_proven(config), f"{request}, only inside TLS to a verified server."),
        (True, "Never: the server is not verified, and require_auth does not name password."),
    )
    return _by_kind(config, local=f"{request}, over the local socket.", remote=remote)


def _md5(config: Config) -> str:
    if not is_allowed(config, "md5"):
        return _not_allowed(config, "md5")
    where = _first(
        (is_always_proven(config), "inside TLS to a verified server"),
        (config.tls_mode is TlsMode.REQUIRE, "inside TLS to a server that is not verified"),
        (True, "in plain text if TLS is not used"),
    )
    text = "If the server requests md5"
    return _by_kind(config, local=f"{text}, over the local socket.", remote=f"{text}, {where}.")


def _not_allowed(config: Config, method: str) -> str:
    required = config.channel_binding is ChannelBinding.REQUIRE
    return f"Never: {'channel binding requires SCRAM' if required else f'require_auth does not allow {method}'}."


def _channel_binding(config: Config) -> str:
    if config.tls_mode is TlsMode.DISABLE or config.channel_binding is ChannelBinding.DISABLE:
        return f"Never: {'TLS' if config.tls_mode is TlsMode.DISABLE else 'channel binding'} is disabled."
    if not is_allowed(config, "scram-sha-256"):
        return "Never: it requires SCRAM, which require_auth does not allow."
    binding: str = config.channel_binding_type or DEFAULT_TYPE
    if binding != DEFAULT_TYPE:
        binding += " (which PostgreSQL itself does not accept)"
    if config.channel_binding is ChannelBinding.REQUIRE:
        return f"Always, with {binding}: a server that does not bind SCRAM to this TLS channel is refused."
    return f"With {binding}, if TLS is used and the server offers it; a man in the middle can hide the offer."


def _failure(config: Config) -> str:
    text = _first(
        (is_only_local(config), "The connect fails."),
        (
            config.tls_mode is TlsMode.ALLOW,
            "If the server refuses the plain connection before authentication ends, TLS is tried.",
        ),
        (config.tls_fallback, "If TLS fails, or the server refuses the connection with TLS, plain text is tried."),
        (True, "If the certificate, the login or the method is refused, the connect fails."),
    )
    if len(config.targets) > 1:
        text += " The next host is tried if a host does not respond in time, is starting up or has another role."
    return text
