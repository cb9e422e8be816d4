"""What is weak in a configuration, and the libpq keywords that mend it.

The predicates that this is judged by are the connection's own rules (`protocol.policy`), asked before there is one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..config.enums import ChannelBinding, TlsMode, TlsVerify, TlsVersion
from ..protocol.policy import is_trusted, names_cleartext

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..config import Config


@dataclass(frozen=True)
class Advice:
    """A weakness, and the libpq keywords that mend it.

    Attributes:
        text: What is weak.
        change: Keywords with the values that mend it, `None` for one that is to be left out; empty where none does.
    """

    text: str
    change: tuple[tuple[str, str | None], ...] = ()


_SCRAM_ALONE = (("require_auth", "scram-sha-256"),)


def weaknesses(config: Config) -> Iterator[Advice]:
    """Each weakness of `config`, the worst first."""
    if only_local(config):
        return
    yield from _of_tls(config)
    yield from _of_authentication(config)
    if config.tls_key_log_path is not None and has_tls(config):
        yield Advice(
            f"The secrets of TLS are written to {config.tls_key_log_path}: drop sslkeylogfile.",
            (("sslkeylogfile", None),),
        )


def _of_tls(config: Config) -> Iterator[Advice]:
    full = _fully_verified(config)
    if config.tls_mode is TlsMode.DISABLE:
        yield Advice("Everything travels in plain text, for anybody on the way to read and to change.", full)
    elif config.tls_mode is not TlsMode.REQUIRE:
        yield Advice("Whoever stands in the middle can see to it that everything travels in plain text.", full)
    elif config.tls_pins:
        return
    elif config.tls_verify is TlsVerify.NONE:
        if config.channel_binding is ChannelBinding.REQUIRE:
            yield Advice(
                "The server's certificate is not verified: channel binding alone tells it from an impostor.", full
            )
        else:
            yield Advice("The server's certificate is not verified: an impostor in the middle is not noticed.", full)
    elif config.tls_verify is TlsVerify.CA:
        who = (
            "anybody can have one from a public authority"
            if config.tls_default_roots
            else "any of that authority will do"
        )
        yield Advice(f"The certificate's name is not verified, and {who}.", full)


def _fully_verified(config: Config) -> tuple[tuple[str, str], ...]:
    """sslmode=verify-full, by the same roots; libpq's word for it needs a file, or their name."""
    if config.tls_root_cert_path is None:
        return (("sslmode", "verify-full"), ("sslrootcert", "system"))
    if config.tls_default_roots:  # and the default ones, which only our own word can say
        return (("sslmode", "verify-full"), ("tls_default_roots", "1"))
    return (("sslmode", "verify-full"),)


def _of_authentication(config: Config) -> Iterator[Advice]:
    if names_cleartext(config) and not always_proven(config):
        yield Advice("The password itself can be asked for by a server that is not verified.", _SCRAM_ALONE)
    elif allows(config, "md5") and not always_proven(config):
        yield Advice(
            "An md5 digest of the password, enough to guess it by, can be asked for by a server that is not verified.",
            _SCRAM_ALONE,
        )
    elif allows(config, "none") and config.tls_client_cert is None:
        yield Advice("A server that asks for no proof of us, and gives none, is believed.", _SCRAM_ALONE)
    if config.channel_binding is not ChannelBinding.REQUIRE and allows(config, "scram-sha-256"):
        yield Advice(
            "Authentication need not be bound to the TLS channel: whoever holds a certificate that is accepted can "
            f"stand in the middle. ({_UNBOUND_WHERE_LOCAL if some_local(config) else _UNBOUND_WHERE})",
            _bound(config),
        )


_UNBOUND_WHERE = "Where a proxy ends TLS, and before PostgreSQL 11, it cannot be bound."
_UNBOUND_WHERE_LOCAL = "It cannot be required while one of the hosts is a Unix-domain socket, which has no TLS."


def _bound(config: Config) -> tuple[tuple[str, str | None], ...]:
    """channel_binding=require, by a type that there can be; nothing where there can be none."""
    if some_local(config):
        return ()
    impossible = config.channel_binding_type == "tls-unique" and config.tls_min_version is TlsVersion.TLSV1_3
    return (("channel_binding", "require"), *((("channel_binding_type", None),) if impossible else ()))


def only_local(config: Config) -> bool:
    """Does everything go over Unix-domain sockets?"""
    return all(host.is_unix_socket for host in config.targets)


def some_local(config: Config) -> bool:
    """Does some of it, or all?"""
    return any(host.is_unix_socket for host in config.targets)


def has_tls(config: Config) -> bool:
    """Can there be TLS?"""
    return config.tls_mode is not TlsMode.DISABLE and not only_local(config)


def proven(config: Config) -> bool:
    """Is the server known to be the right one wherever it is reached by TLS?"""
    return is_trusted(config, config.tls_verify, pinned=bool(config.tls_pins))


def always_proven(config: Config) -> bool:
    """Is it known so wherever it is reached at all?"""
    return config.tls_mode is TlsMode.REQUIRE and proven(config)


def allows(config: Config, method: str) -> bool:
    """Does policy let the server ask for `method`?"""
    if config.channel_binding is ChannelBinding.REQUIRE and method != "scram-sha-256":
        return False
    return config.allowed_auth is None or method in config.allowed_auth
