"""A `Config` as a connection string: libpq's keywords where they say it, this library's own for the rest.

What libpq's keywords say is asked of the reader itself, so that the writer cannot understand them otherwise: the rest
is every field that the reader would get wrong.
"""

from __future__ import annotations

import base64
import dataclasses
from typing import TYPE_CHECKING

from ..config import Config
from ..config.host import Host
from ..diagnostics.tracebacks import clears_locals
from ..errors import ConfigError
from .interpret import interpret
from .keywords import OWN, STANDALONE
from .own import unwritable, write_own
from .sources import Setting, resolve
from .syntax import quote
from .tls_options import SSL_MODES

if TYPE_CHECKING:
    from collections.abc import Iterator


_DEFAULTS = {field.name: field.default for field in dataclasses.fields(Config)}
_OWN = frozenset(keyword.name for keyword in OWN)

#: libpq's keywords for fields that they say in full, in the order in which they are written.
_KEYWORDS = {
    "database": "dbname",
    "password": "password",
    "passfile": "passfile",
    "application_name": "application_name",
    "options": "options",
    "connect_timeout": "connect_timeout",
    "target_session_attrs": "target_session_attrs",
    "load_balance_hosts": "load_balance_hosts",
    "keepalives": "keepalives",
    "keepalives_idle": "keepalives_idle",
    "keepalives_interval": "keepalives_interval",
    "keepalives_count": "keepalives_count",
    "tcp_user_timeout": "tcp_user_timeout",
    "require_peer": "requirepeer",
    "channel_binding": "channel_binding",
    "require_auth": "require_auth",
    "scram_client_key": "scram_client_key",
    "scram_server_key": "scram_server_key",
    "tls_negotiation": "sslnegotiation",
    "tls_sni": "sslsni",
    "tls_min_version": "ssl_min_protocol_version",
    "tls_max_version": "ssl_max_protocol_version",
    "tls_client_cert_mode": "sslcertmode",
    "tls_client_cert": "sslcert",
    "tls_client_key": "sslkey",
    "tls_client_key_password": "sslpassword",
    "tls_crl_path": "sslcrl",
    "tls_crl_dir": "sslcrldir",
    "tls_key_log_path": "sslkeylogfile",
}


@clears_locals
def to_conninfo(config: Config) -> str:
    """A keyword string from which `Config.from_conninfo` makes this configuration, wherever it is read.

    Raises:
        ConfigError: A field has a value that no string can hold.
    """
    pairs = {STANDALONE: "1", **_hosts(config), "user": config.user}
    pairs.update((keyword, text) for name, keyword in _KEYWORDS.items() for text in _text(config, name))
    pairs = min(_completed(config, pairs), key=lambda pairs: (len(_OWN & pairs.keys()), len(pairs)))
    for keyword, value in pairs.items():
        if "\0" in value:
            raise unwritable(keyword, "contains a zero byte")
    text = " ".join(f"{keyword}={quote(value)}" for keyword, value in pairs.items())
    _check(config, text)
    return text


def _hosts(config: Config) -> dict[str, str]:
    hosts = config.targets
    for host in hosts:
        if "," in host.host or "," in (host.hostaddr or ""):
            raise unwritable("host", "contains a comma")
    pairs = {}
    if len(hosts) > 1 or hosts[0].host != Host().host:
        pairs["host"] = ",".join(host.host for host in hosts)
    if any(host.hostaddr for host in hosts):
        pairs.setdefault("host", hosts[0].host)
        pairs["hostaddr"] = ",".join(host.hostaddr or "" for host in hosts)
    ports = [str(host.port) for host in hosts]
    if any(host.port != Host().port for host in hosts):
        pairs["port"] = ports[0] if len(set(ports)) == 1 else ",".join(ports)
    return pairs


def _text(config: Config, name: str) -> Iterator[str]:
    """The value for a field's libpq keyword, or nothing where there is nothing to say."""
    value = getattr(config, name)
    if value == _DEFAULTS[name]:
        return
    if name == "connect_timeout" and value is None:
        yield "0"
    elif name in ("scram_client_key", "scram_server_key"):
        yield base64.b64encode(value).decode()
    elif name == "tls_client_key" and ":" in str(value):
        return  # as sslkey it would be a key in a token
    elif value is None or isinstance(value, bytes) or callable(value):
        raise unwritable(name, f"is of type {type(value).__name__}")
    elif isinstance(value, bool | int | float):
        yield repr(int(value) if isinstance(value, bool) else value)
    else:
        yield getattr(value, "value", value)


def _completed(config: Config, pairs: dict[str, str]) -> Iterator[dict[str, str]]:
    """The pairs with each sslmode and sslrootcert that can stand beside them, and what these leave to be said."""
    roots = [None, "system", *([config.tls_root_cert_path] if config.tls_root_cert_path else [])]
    for root in roots:
        for sslmode in (None, *reversed(SSL_MODES)):  # of two that say the same, the plainer
            words = {"sslmode": sslmode, "sslrootcert": root}
            candidate = {**pairs, **{keyword: value for keyword, value in words.items() if value}}
            settings = {keyword: Setting(keyword, value) for keyword, value in candidate.items()}
            try:
                fields = interpret(settings)
            except ConfigError:  # a mode that is too weak, or has nothing to verify with
                continue
            wrong = [keyword.name for keyword in OWN if fields[keyword.name].value != getattr(config, keyword.name)]
            yield {**candidate, **{name: write_own(name, getattr(config, name)) for name in wrong}}


def _check(config: Config, text: str) -> None:
    """Read it back: what a string cannot hold is found here, if nowhere before."""
    settings = resolve(text, environ={})
    read = Config(**{name: field.value for name, field in interpret(settings, environ={}).items()})
    for field in dataclasses.fields(Config):
        if getattr(read, field.name) != getattr(config, field.name):
            raise unwritable(field.name, "has a value")
