"""What a configuration means, in plain words: where it leads, what it proves, what it gives away, what is weak in it.

Everything here is computed without a connection, from a `Config` and from what is on this machine (its engines, its
roots, the password file), and by the rules that the connection will go by. `explain` is what ``babar-tls explain``
prints.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
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
from ..conninfo.passfile import is_open_to_others, password_for
from ..diagnostics.tracebacks import clears_locals
from ..errors import BackendUnavailable, ConfigError
from ..protocol.channel_binding import DEFAULT_TYPE
from ..protocol.negotiation import tls_parameters
from ..protocol.policy import names_cleartext
from ..tls.default_roots import default_roots
from ..tls.support import lacks
from .weaknesses import Advice, allows, always_proven, has_tls, only_local, proven, some_local, weaknesses

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..backends import Capabilities
    from ..config import Config
    from ..config.host import Host

__all__ = ["Advice", "Explanation", "Meaning", "explain"]


@dataclass(frozen=True)
class Meaning:
    """One consequence: what it is about, and what will happen."""

    topic: str
    text: str


@dataclass(frozen=True)
class Explanation:
    """What a configuration means.

    Attributes:
        meanings: Its consequences, in the order of a connect.
        warnings: What is weak in it; empty if nothing is.
    """

    meanings: tuple[Meaning, ...]
    warnings: tuple[Advice, ...]


@clears_locals
def explain(config: Config) -> Explanation:
    """Say what `config` means.

    Raises:
        BackendUnavailable: There is to be TLS, and no engine has the name that is to do it.
    """
    meanings = [
        Meaning("Server", _where(config)),
        Meaning("Encryption", _by_kind(config, local=_NO_NEED, remote=_encryption(config))),
        Meaning("Engine", _engine_fault(config)),
        Meaning("Verification", _verification(config)),
        Meaning("Trusted roots", _roots(config)),
        Meaning("Our certificate", _client_certificate(config)),
        Meaning("Authentication", _authentication(config)),
        Meaning("Password in clear", _cleartext(config)),
        Meaning("Password hashed", _hashed(config)),
        Meaning("Channel binding", _binding(config)),
        Meaning("If it is refused", _refusal(config)),
    ]
    return Explanation(tuple(item for item in meanings if item.text), tuple(weaknesses(config)))


# The connection ----------------------------------------------------------------------------------------------------


def _place(host: Host) -> str:
    if host.is_unix_socket:
        return f"socket {host.host}/.s.PGSQL.{host.port}"
    at = f" at {host.hostaddr}" if host.hostaddr and host.hostaddr != host.host else ""
    return f"{host.host}{at}, port {host.port}"


def _where(config: Config) -> str:
    places = "; then ".join(_place(host) for host in config.targets)
    order = ""
    if config.load_balance_hosts is LoadBalanceHosts.RANDOM:
        order = " Hosts and their addresses are tried in random order."
    wanted = config.target_session_attrs
    session = "" if wanted is TargetSessionAttrs.ANY else f" The session must be {wanted.value}."
    if wanted is TargetSessionAttrs.PREFER_STANDBY:
        session = " A standby is taken if there is one, else any server."
    each = "" if len(config.targets) == 1 else " each"
    limit = "without limit of time" if config.connect_timeout is None else f"for {config.connect_timeout:g} s{each}"
    return f"{places}; tried {limit}.{order}{session}"


def _by_kind(config: Config, *, local: str, remote: str) -> str:
    """What is said of Unix-domain sockets, of TCP or, where the hosts are of both kinds, of each."""
    if only_local(config):
        return local
    if not some_local(config):
        return remote
    return f"TCP: {_uncapitalized(remote)} Socket: {_uncapitalized(local)}"


def _uncapitalized(text: str) -> str:
    return text[0].lower() + text[1:]


_NO_NEED = "None is needed: a Unix-domain socket does not leave this machine, whatever the mode says."

_MODES = {
    TlsMode.DISABLE: "Never: everything travels in plain text.",
    TlsMode.ALLOW: "Only if the server refuses a plain connection; otherwise everything travels in plain text.",
    TlsMode.PREFER: "If the server has TLS; if it says that it has none, everything travels in plain text.",
    TlsMode.REQUIRE: "Always: TLS or no connection.",
}


def _encryption(config: Config) -> str:
    text = _MODES[config.tls_mode]
    if config.tls_mode is TlsMode.DISABLE:
        return text
    if config.tls_fallback:
        text = "If the server has TLS; if it has none, if TLS fails or the server refuses, in plain text."
    newest = config.tls_max_version
    versions = f"{config.tls_min_version.value}{' or newer' if newest is None else f' to {newest.value}'}"
    if newest is config.tls_min_version:
        versions = f"{newest.value} alone"
    start = "from the first byte" if config.tls_negotiation is TlsNegotiation.DIRECT else "after SSLRequest"
    log = f" Whoever reads {config.tls_key_log_path} can read all of it." if config.tls_key_log_path else ""
    return f"{text} {versions}, {start}, by the engine {_engine(config)}.{log}"


def _engine(config: Config) -> str:
    backend = config.tls_backend
    return backend if isinstance(backend, str) else backend.name


def _engine_fault(config: Config) -> str:
    """Why the engine will not do; nothing where it will.

    Raises:
        BackendUnavailable: No engine has this name.
    """
    if not has_tls(config):
        return ""
    try:
        capabilities = get_backend(config.tls_backend).capabilities
    except BackendUnavailable as error:
        if _engine(config) not in backend_names():
            raise
        return f"{error.message}. Connecting will fail."
    lacks = ", or ".join(_lacks(config, capabilities))
    return f"{_engine(config)} cannot {lacks}: connecting by TLS will fail." if lacks else ""


def _lacks(config: Config, capabilities: Capabilities) -> Iterator[str]:
    """Yield what the configuration requires and the backend cannot do."""
    yield from (lack.what for lack in lacks(tls_parameters(config), capabilities))
    unproven = config.tls_verify is TlsVerify.NONE and not capabilities.unverified_proven
    if config.tls_pins and unproven:
        yield "pin a server that it does not verify"
    kind = config.channel_binding_type or DEFAULT_TYPE
    if config.channel_binding is not ChannelBinding.REQUIRE:
        return
    if kind not in capabilities.channel_bindings:
        yield f"bind the channel by {kind}"
    elif kind == "tls-server-end-point" and unproven:
        yield "bind the channel to a server that it does not verify"


def _names(config: Config) -> str:
    if config.tls_server_name is not None:
        return config.tls_server_name
    return " or ".join(dict.fromkeys(host.host for host in config.targets if not host.is_unix_socket))


def _verification(config: Config) -> str:
    if not has_tls(config):
        return "" if only_local(config) else "None: there is no TLS, and nothing to tell the server from an impostor."
    pins = f" It must have one of {len(config.tls_pins)} pinned fingerprints." if config.tls_pins else ""
    if config.tls_verify is TlsVerify.NONE:
        return f"No authority is asked.{pins}" if pins else "None: any certificate will do."
    revocation = ""
    if config.tls_crl_path or config.tls_crl_dir:
        lists = " and ".join(path for path in (config.tls_crl_path, config.tls_crl_dir) if path)
        revocation = f" None of the chain may be revoked, by {lists}."
    if config.tls_verify is TlsVerify.CA:
        return (
            f"The certificate's chain, not its name: any certificate of a trusted authority will do.{pins}{revocation}"
        )
    rules = " (a common name counts where there is no alternative name)" if config.tls_common_name else ""
    hidden = "" if config.tls_sni else " The name is not sent to the server."
    return f"The certificate's chain, and that it is for {_names(config)}{rules}.{hidden}{pins}{revocation}"


def _roots(config: Config) -> str:
    if not has_tls(config) or config.tls_verify is TlsVerify.NONE:
        return ""
    if not config.tls_default_roots:
        return f"Those of {config.tls_root_cert_path}, and no others."
    if config.tls_os_roots:
        default = "the operating system's own verifier"
    else:
        try:
            roots = default_roots()
        except ConfigError:
            default = "the default ones, of which this machine has none that can be found"
        else:
            files = " and ".join(path for path in (roots.cafile, roots.capath) if path)
            default = f"the default ones: {files} (found through {roots.source})"
    more = f"those of {config.tls_root_cert_path}, and " if config.tls_root_cert_path else ""
    text = f"{more}{default}."
    return text[0].upper() + text[1:]


def _client_certificate(config: Config) -> str:
    mode = config.tls_client_cert_mode
    if not has_tls(config) or mode is ClientCertMode.DISABLE:
        return ""
    source = config.tls_client_cert
    if source is None:
        required = mode is ClientCertMode.REQUIRE
        return "There is none, and a server that lets us in without one is refused." if required else ""
    name = source if isinstance(source, str) else "the one in memory"
    if mode is ClientCertMode.REQUIRE:
        return f"{name}: the server must ask for it."
    return f"{name}, if the server asks for one."


# Authentication ----------------------------------------------------------------------------------------------------


def _secret(config: Config) -> str:
    if config.scram_client_key is not None:
        return "with the given SCRAM keys"
    if config.password is not None:
        return "with the given password"
    if config.passfile is not None:
        return _from_file(config, config.passfile)
    return "without a password"


def _from_file(config: Config, path: str) -> str:
    """What the password file has; it is asked first what would keep it from being used, and be logged."""
    try:
        mode = Path(path).stat().st_mode
    except (OSError, ValueError):
        return f"without a password: {path} cannot be read"
    if not stat.S_ISREG(mode):
        return f"without a password: {path} is no plain file"
    if is_open_to_others(mode):
        return f"without a password: {path} is not used, because others may read it"
    if not os.access(path, os.R_OK):
        return f"without a password: {path} cannot be read"
    missing = [host for host in config.targets if password_for(config.at(host)) is None]
    if not missing:
        return f"with the password that {path} has for it"
    if len(missing) == len(config.targets):
        return f"without a password: {path} has none for it"
    return f"with a password from {path} where it has one: not for {' or '.join(map(_place, missing))}"


def _authentication(config: Config) -> str:
    methods = [method for method in ("scram-sha-256", "md5", "password", "none") if allows(config, method)]
    words = {"none": "nothing at all ('trust', or a certificate)", "password": "the password itself", "md5": "md5"}
    listed = ", ".join(words.get(method, method) for method in methods)
    who = f"{config.user}, {_secret(config)}"
    return f"As {who}. The server may ask for: {listed or 'nothing that we can answer'}."


def _cleartext(config: Config) -> str:
    if config.channel_binding is ChannelBinding.REQUIRE:
        return "Never: only SCRAM can bind the channel."
    if not allows(config, "password"):
        return "Never: require_auth does not allow it."
    return _by_kind(config, local="If the server asks for it, over the local socket.", remote=_cleartext_by_tcp(config))


def _cleartext_by_tcp(config: Config) -> str:
    if names_cleartext(config):
        if config.tls_mode is not TlsMode.REQUIRE:
            return "If the server asks for it, whether there is TLS or not, because require_auth names password."
        if proven(config):
            return "If the server asks for it, inside TLS to a verified server."
        return "If the server asks for it, inside TLS, to a server that is not verified: require_auth names password."
    if has_tls(config) and proven(config):
        return "If the server asks for it, inside TLS to a verified server; never otherwise."
    return "Never: the server is not verified, and require_auth does not name password."


def _hashed(config: Config) -> str:
    if not allows(config, "md5"):
        required = config.channel_binding is ChannelBinding.REQUIRE
        return f"Never: {'only SCRAM can bind the channel' if required else 'require_auth does not allow md5'}."
    if always_proven(config):
        where = "inside TLS to a verified server"
    elif config.tls_mode is TlsMode.REQUIRE:
        where = "inside TLS, to a server that is not verified"
    else:
        where = "in plain text where there is no TLS"
    text = "By md5, if the server asks for it"
    return _by_kind(config, local=f"{text}, over the local socket.", remote=f"{text}, {where}.")


def _binding(config: Config) -> str:
    return _by_kind(config, local="None: there is no TLS on a Unix-domain socket.", remote=_binding_by_tcp(config))


def _binding_by_tcp(config: Config) -> str:
    if config.tls_mode is TlsMode.DISABLE or config.channel_binding is ChannelBinding.DISABLE:
        why = "TLS is disabled" if config.tls_mode is TlsMode.DISABLE else "it is disabled"
        return f"None: {why}."
    if not allows(config, "scram-sha-256"):
        return "None: require_auth does not allow SCRAM, which alone can bind the channel."
    kind = config.channel_binding_type or DEFAULT_TYPE
    if kind != DEFAULT_TYPE:
        kind += " (which PostgreSQL itself does not accept)"
    if config.channel_binding is ChannelBinding.REQUIRE:
        return f"Always, by {kind}: a server that does not bind SCRAM to this TLS channel is refused."
    return f"By {kind} if there is TLS and the server offers it; a man in the middle can pretend that it does not."


def _refusal(config: Config) -> str:
    if only_local(config):
        text = "That is the end."
    elif config.tls_mode is TlsMode.ALLOW:
        text = "A plain connection that the server refuses before authentication is over is followed by one with TLS."
    elif config.tls_fallback:
        text = "A connection with TLS that fails, or that the server refuses, is followed by one without."
    else:
        text = "A certificate, a login or a method that is refused is the end."
    if len(config.targets) > 1:
        text += " The next host is tried where one does not answer in time, is starting up or is not the kind wanted."
    return text
