"""Weaknesses of a configuration, found by the rules that a connection follows (`protocol.policy`)."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from ..config.enums import ChannelBinding, TlsMode, TlsVerify
from ..protocol.policy import is_trusted, names_cleartext

if TYPE_CHECKING:
    from ..config import Config


class Remedy(Enum):
    """The kind of change that removes a weakness."""

    VERIFY = "verify the server"
    REQUIRE_SCRAM = "require SCRAM"
    BIND = "require channel binding"
    NO_KEY_LOG = "write no key log"


#: What to change in a connection string, for each kind of change.
ADVICE = {
    Remedy.VERIFY: "Use sslmode=verify-full with sslrootcert=system, or with the file of a private CA.",
    Remedy.REQUIRE_SCRAM: "Use require_auth=scram-sha-256.",
    Remedy.BIND: "Use channel_binding=require.",
    Remedy.NO_KEY_LOG: "Remove sslkeylogfile (tls_key_log_path).",
}


class Weakness(NamedTuple):
    """A weakness, described for users; `remedy` is `None` if no parameter removes it."""

    text: str
    remedy: Remedy | None


PLAIN_TEXT = Weakness("Nothing is encrypted: an attacker on the network can read and change everything.", Remedy.VERIFY)


def find_weaknesses(config: Config) -> list[Weakness]:
    """Return the weaknesses of `config`, the worst first."""
    if is_only_local(config):
        return []
    password = _password_weakness(config)
    found = [_tls_weakness(config), password]
    if config.channel_binding is not ChannelBinding.REQUIRE and (password or is_allowed(config, "scram-sha-256")):
        found.append(_binding_weakness(config))
    if config.tls_key_log_path is not None:
        path = config.tls_key_log_path
        text = f"TLS secrets are written to {path}: everyone who can read this file can decrypt the connection."
        found.append(Weakness(text, Remedy.NO_KEY_LOG))
    return [weakness for weakness in found if weakness]


def certificate_weakness(verify: TlsVerify, *, bound: bool) -> Weakness | None:
    """Return the weakness of a connection whose certificate is verified to the extent of `verify`; None for FULL.

    Args:
        verify: The extent of the verification.
        bound: Authentication is bound to the TLS channel.
    """
    if verify is TlsVerify.FULL:
        return None
    if verify is TlsVerify.CA:
        text = "The name in the server's certificate is not verified: any certificate of a trusted CA is accepted."
    elif bound:
        text = "The server's certificate is not verified: only channel binding detects a man in the middle."
    else:
        text = "The server's certificate is not verified: a man in the middle is not detected."
    return Weakness(text, Remedy.VERIFY)


def unbound(verb: str) -> str:
    """Return the sentence about authentication that is not bound; `verb` is "is not" or "may not be"."""
    return (
        f"Authentication {verb} bound to the TLS channel: a man in the middle with a certificate that the client "
        "accepts is not detected."
    )


def _tls_weakness(config: Config) -> Weakness | None:
    if config.tls_mode is TlsMode.DISABLE:
        return PLAIN_TEXT
    if config.tls_mode is not TlsMode.REQUIRE:
        return Weakness("TLS is not required: a man in the middle can force plain text.", Remedy.VERIFY)
    if config.tls_pins:
        return None
    return certificate_weakness(config.tls_verify, bound=config.channel_binding is ChannelBinding.REQUIRE)


def _password_weakness(config: Config) -> Weakness | None:
    if names_cleartext(config) and not is_always_proven(config):
        text = "A server that is not verified can request the password itself."
    elif is_allowed(config, "md5") and not is_always_proven(config):
        text = "A server that is not verified can request an MD5 digest of the password, which allows guesses at it."
    elif sent := _sent_without_scram(config):
        text = f"require_auth does not allow SCRAM: the server receives {sent}, and does not prove its identity."
    elif is_allowed(config, "none") and config.tls_client_cert is None:
        text = "A server that requests no authentication, and therefore does not prove its identity, is accepted."
    else:
        return None
    return Weakness(text, Remedy.REQUIRE_SCRAM)


def _sent_without_scram(config: Config) -> str | None:
    """Return what a server receives to authenticate the client if it may not use SCRAM; None if it may."""
    if is_allowed(config, "scram-sha-256"):
        return None
    if is_allowed(config, "password"):
        return "the password itself"
    return "an MD5 digest of the password" if is_allowed(config, "md5") else None


def _binding_weakness(config: Config) -> Weakness:
    if any(host.is_unix_socket for host in config.targets):
        why = "It cannot be required while one of the hosts is a Unix-domain socket, which has no TLS."
        return Weakness(f"{unbound('may not be')} {why}", None)
    why = "Channel binding needs PostgreSQL 11 or newer, and no proxy that terminates TLS."
    return Weakness(f"{unbound('may not be')} {why}", Remedy.BIND)


def is_only_local(config: Config) -> bool:
    """Return True if every host is a Unix-domain socket."""
    return all(host.is_unix_socket for host in config.targets)


def has_tls(config: Config) -> bool:
    """Return True if a connection may use TLS."""
    return config.tls_mode is not TlsMode.DISABLE and not is_only_local(config)


def is_proven(config: Config) -> bool:
    """Return True if TLS proves the identity of the server, where TLS is used."""
    return is_trusted(config, config.tls_verify, pinned=bool(config.tls_pins))


def is_always_proven(config: Config) -> bool:
    """Return True if every connection uses TLS that proves the identity of the server."""
    return config.tls_mode is TlsMode.REQUIRE and is_proven(config)


def is_allowed(config: Config, method: str) -> bool:
    """Return True if the server may request the authentication method `method`."""
    if config.channel_binding is ChannelBinding.REQUIRE and method != "scram-sha-256":
        return False
    return config.allowed_auth is None or method in config.allowed_auth
