"""What the caller's policy lets the server ask for, and which SCRAM mechanism and binding answer it.

`require_auth` and ``channel_binding=require`` bind the whole exchange, not the SASL code alone: every request of the
server's passes `Policy.check_request` before anything secret is sent, and AuthenticationOk passes
`Policy.check_finished` before it is believed (CVE-2025-49146 was a hole of that kind).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..config import ChannelBinding, ClientCertMode, Config, TlsVerify
from ..diagnostics.escaping import visible
from ..errors import (
    ChannelBindingError,
    ChannelBindingUnsupported,
    ClientCertificateError,
    ConfigError,
    Error,
    ProtocolError,
    UnsupportedAuth,
)
from .channel_binding import DEFAULT_TYPE, Binding, channel_binding_data
from .negotiation import matching_pin, verified
from .scram import SCRAM_SHA_256, SCRAM_SHA_256_PLUS

if TYPE_CHECKING:
    from ..tls.contract import TlsFacts

_SHOWN = 8  # SASL mechanisms in a message
_LONGEST_NAME = 20  # characters (RFC 4422 §3.1)

_REQUESTS = {
    "password": "server requested a cleartext password",
    "md5": "server requested a hashed password",
    "gss": "server requested GSSAPI authentication",
    "sspi": "server requested SSPI authentication",
}

_NO_SCRAM = (
    "The server authenticated the client without SCRAM, by its certificate (cert) or by its address or user (trust, "
    "peer, ident), so that channel binding cannot be proven. The role needs a scram-sha-256 line in pg_hba.conf (to "
    "which clientcert=verify-full adds the certificate); or drop channel_binding=require."
)
_UNFINISHED_SCRAM = "The server did not prove that it knows the password. Do not trust it."


class Mechanism(NamedTuple):
    """A choice of SASL mechanism: its name, the gs2-cbind-flag's letter, and what is bound."""

    name: str
    flag: str
    binding_type: str | None = None
    binding: Binding = Binding(b"")
    warning: str | None = None

    @property
    def gs2_cbind_flag(self) -> str:
        """The flag as the gs2-header spells it."""
        return f"p={self.binding_type}" if self.flag == "p" else self.flag


class Policy:
    """What `config` allows on a connection of which `facts` are known (`None`: it is plain)."""

    def __init__(self, config: Config, facts: TlsFacts | None) -> None:
        self._config = config
        self._facts = facts
        self._allowed = config.allowed_auth
        self._binding_required = config.channel_binding is ChannelBinding.REQUIRE
        self._binding: Binding | None = None  # once it is known: two lists may be answered
        pinned = matching_pin(config, facts) is not None
        self._private = config.is_unix_socket or is_trusted(config, verified(config, facts), pinned=pinned)

    def check_request(self, method: str) -> None:
        """May the server ask for `method` (one of `AUTH_METHODS`, SASL apart)?

        Raises:
            ChannelBindingError: The method cannot bind the channel.
            UnsupportedAuth: `require_auth` forbids it, or it would give the password away.
        """
        self._check_allowed(method, _REQUESTS[method])
        if self._binding_required:
            raise ChannelBindingError(
                "channel binding required but not supported by server's authentication request",
                remedy="Only SCRAM binds the channel: the role needs a scram-sha-256 password and line in pg_hba.conf.",
            )
        if method == "password" and not self._private and not names_cleartext(self._config):
            raise UnsupportedAuth(
                "server requested a cleartext password, which anybody in between could read",
                remedy="Verify the server (sslmode=verify-full), or allow it explicitly with require_auth=password.",
            )

    def check_finished(self, method: str, *, bound: bool) -> None:
        """The server says that we are in, by `method`: is that what was asked for?

        Raises:
            ChannelBindingError: The channel was to be bound and was not.
            UnsupportedAuth: `require_auth` wanted an authentication.
            ClientCertificateError: Our certificate was to be presented and was not.
        """
        if self._config.tls_client_cert_mode is ClientCertMode.REQUIRE:
            self._check_certificate_sent()
        if method == "none":
            self._check_allowed(method, "server did not complete authentication")
        if self._binding_required and not bound:
            raise ChannelBindingError(
                "channel binding required, but server authenticated client without channel binding",
                remedy=_NO_SCRAM if method == "none" else _UNFINISHED_SCRAM,
            )

    def md5_warning(self) -> str | None:
        """What to log before an md5 digest is sent."""
        if self._private:
            return None
        return "sending an md5 password digest to a server that was not verified: it can be used to log in elsewhere"

    def choose_mechanism(self, offered: list[str]) -> Mechanism:
        """Answer the server's list of SASL mechanisms (RFC 5802 §6; PostgreSQL over TLS takes no ``y``).

        Raises:
            ChannelBindingError: The channel is to be bound and cannot be.
            UnsupportedAuth: No mechanism of the list is one that we speak.
            ProtocolError: A binding is offered where there is no channel.
        """
        if self._allowed is not None and not self._allowed & {"scram-sha-256", "oauth"}:
            self._check_allowed("scram-sha-256", "server requested SASL authentication")
        mechanism = self._choose(offered)
        self._check_allowed("scram-sha-256", f"server requested {mechanism.name} authentication")
        return mechanism

    def only_mechanism(self) -> Mechanism | None:
        """The one answer that every list of the server's would get; `None` where it depends on the list.

        What would be refused has no answer: the error is told when the server has had its say, as libpq does it.
        """
        if not self._binding_required and self._allowed != frozenset(["scram-sha-256"]):
            return None
        mechanism = SCRAM_SHA_256_PLUS if self._binding_required else SCRAM_SHA_256
        bound_or_not = self._facts is not None and self._config.channel_binding is ChannelBinding.PREFER
        if bound_or_not or not self._config.pipelining:
            return None
        try:
            return self.choose_mechanism([mechanism])
        except Error:
            return None

    def _choose(self, offered: list[str]) -> Mechanism:
        if self._binding_required and self._facts is None:
            raise ChannelBindingError(
                "channel binding required, but SSL not in use",
                remedy="The server offers no TLS here; without it there is no channel to bind.",
            )
        plus = SCRAM_SHA_256_PLUS in offered
        if plus and self._facts is None:
            raise ProtocolError("server offered SCRAM-SHA-256-PLUS authentication over a non-SSL connection")
        if not plus and self._binding_required:
            raise ChannelBindingError(
                "channel binding is required, but server did not offer an authentication method that supports "
                "channel binding",
                remedy="A proxy that ends TLS (PgBouncer, a cloud front end) cannot offer it; connect directly, "
                "or look for a man in the middle.",
            )
        if not plus and SCRAM_SHA_256 not in offered:
            raise UnsupportedAuth(
                f"none of the server's SASL authentication mechanisms are supported: {_listed(offered)}",
                remedy="This library speaks SCRAM-SHA-256 and SCRAM-SHA-256-PLUS.",
            )
        if self._facts is None or self._config.channel_binding is ChannelBinding.DISABLE:
            return self._unbound(offered, "n")
        binding_type = self._config.channel_binding_type or DEFAULT_TYPE
        try:
            if self._binding is None:
                self._binding = channel_binding_data(binding_type, self._facts)
        except ChannelBindingUnsupported as exc:
            if self._binding_required:
                raise ChannelBindingUnsupported(
                    f"channel binding required, but {exc.message}", remedy=exc.remedy
                ) from exc
            # Never "y", which would say that the server lacks it: PostgreSQL takes that for a downgrade attack.
            return self._unbound(offered, "n", f"channel binding is not possible: {exc.message}")
        if plus:
            return Mechanism(SCRAM_SHA_256_PLUS, "p", binding_type, self._binding)
        return self._unbound(offered, "y")

    def _check_certificate_sent(self) -> None:
        requested = self._facts.certificate_requested if self._facts is not None else False
        if requested is None:
            raise ConfigError(
                "this TLS engine cannot tell whether the server asked for a client certificate",
                remedy="Use another TLS backend, or drop tls_client_cert_mode=require (sslcertmode).",
            )
        if not requested:
            raise ClientCertificateError(
                "server did not request an SSL certificate",
                remedy="The server needs ssl_ca_file, so that it asks for one; or drop sslcertmode=require.",
            )
        if self._config.tls_client_cert is None:
            raise ClientCertificateError(
                "server accepted connection without a valid SSL certificate",
                remedy="Set tls_client_cert (sslcert), or drop sslcertmode=require.",
            )

    def _unbound(self, offered: list[str], flag: str, warning: str | None = None) -> Mechanism:
        if SCRAM_SHA_256 not in offered:
            raise UnsupportedAuth("the server offers SCRAM-SHA-256-PLUS alone, and the channel is not to be bound")
        return Mechanism(SCRAM_SHA_256, flag, warning=warning)

    def _check_allowed(self, method: str, what: str) -> None:
        if self._allowed is not None and method not in self._allowed:
            requested = "" if method != "none" else "The line has the method trust, cert, peer or ident."
            raise UnsupportedAuth(
                f'authentication method requirement "{self._config.require_auth}" failed: {what}',
                remedy=f"Change the role's line in pg_hba.conf, or what require_auth allows. {requested}".rstrip(),
            )


def _listed(mechanisms: list[str]) -> str:
    """Return the list for a message, escaped and bounded: it is from a server that is not authenticated."""
    shown = [visible(name, limit=_LONGEST_NAME) for name in mechanisms[:_SHOWN]]
    if len(mechanisms) > _SHOWN:
        shown.append(f"and {len(mechanisms) - _SHOWN} others")
    return ", ".join(shown) or "none"


def names_cleartext(config: Config) -> bool:
    """Does `require_auth` name cleartext itself? That it forbids something else (``!md5``) is no permission."""
    return "password" in (config.allowed_auth or ()) and "!" not in (config.require_auth or "")


def is_trusted(config: Config, level: TlsVerify, *, pinned: bool) -> bool:
    """Is the other end known to be the right one? Of a public authority's certificates anybody can have one.

    Args:
        config: Which roots are trusted.
        level: What was verified of its certificate.
        pinned: It is one of those that `Config.tls_pins` names.
    """
    return pinned or level is TlsVerify.FULL or (level is TlsVerify.CA and not config.tls_default_roots)
