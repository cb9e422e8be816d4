"""Check the server's authentication requests against the configuration, and choose the SCRAM mechanism and binding.

`require_auth` and ``channel_binding=require`` apply to the whole exchange, not only to SASL. `Policy.check_request`
checks every request before a secret is sent. `Policy.check_finished` checks AuthenticationOk before it is accepted
(CVE-2025-49146 was a missing check of this kind).
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
    "peer, ident), so that channel binding cannot be proven. Add a scram-sha-256 line for the role "
    "to pg_hba.conf (clientcert=verify-full also requires the certificate), or remove channel_binding=require."
)
_OAUTHBEARER = "OAUTHBEARER"  # RFC 7628; PostgreSQL 18
_NO_OAUTH = (
    "The server requires OAuth authentication, which this library does not support. Add a scram-sha-256 line for "
    "the role to pg_hba.conf."
)
_UNFINISHED_SCRAM = "The server did not prove that it has the password's verifier. Do not trust it."


class Mechanism(NamedTuple):
    """The chosen SASL mechanism: its name, the letter of the gs2-cbind-flag, and the channel binding."""

    name: str
    flag: str
    binding_type: str | None = None
    binding: Binding = Binding(b"")
    warning: str | None = None

    @property
    def gs2_cbind_flag(self) -> str:
        """The gs2-cbind-flag for the gs2-header."""
        return f"p={self.binding_type}" if self.flag == "p" else self.flag


class Policy:
    """The authentication that `config` allows on a connection with these `facts` (`None` without TLS)."""

    def __init__(self, config: Config, facts: TlsFacts | None) -> None:
        self._config = config
        self._facts = facts
        self._allowed = config.allowed_auth
        self._binding_required = config.channel_binding is ChannelBinding.REQUIRE
        self._binding: Binding | None = None  # cached, because two lists of mechanisms may need it
        pinned = matching_pin(config, facts) is not None
        self._private = config.targets[0].is_unix_socket or is_trusted(config, verified(config, facts), pinned=pinned)

    def check_request(self, method: str) -> None:
        """Check that the server may request `method` (one of `AUTH_METHODS` except SASL).

        Raises:
            ChannelBindingError: The method does not support channel binding.
            UnsupportedAuth: `require_auth` forbids the method, or it would reveal the password.
        """
        self._check_allowed(method, _REQUESTS[method])
        if self._binding_required:
            raise ChannelBindingError(
                "channel binding required but not supported by server's authentication request",
                remedy="Only SCRAM supports it. The role needs a scram-sha-256 password and line in pg_hba.conf.",
            )
        if method == "password" and not self._private and not names_cleartext(self._config):
            raise UnsupportedAuth(
                "server requested a cleartext password, which a man in the middle could read",
                remedy="Verify the server (sslmode=verify-full), or allow it explicitly with require_auth=password.",
            )

    def check_finished(self, method: str, *, bound: bool) -> None:
        """Check that the server may send AuthenticationOk after `method`.

        Raises:
            ChannelBindingError: Channel binding is required and was not used.
            UnsupportedAuth: `require_auth` requires authentication.
            ClientCertificateError: The client certificate is required and was not presented.
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
        """Return the warning to log before an md5 digest is sent, if any."""
        if self._private:
            return None
        return "sending an md5 password digest to a server that was not verified: it can be used to log in elsewhere"

    def choose_mechanism(self, offered: list[str]) -> Mechanism:
        """Choose one of the SASL mechanisms that the server offers (RFC 5802 §6).

        Raises:
            ChannelBindingError: Channel binding is required and not possible.
            UnsupportedAuth: No mechanism of the list is supported.
            ProtocolError: The server offers channel binding without TLS.
        """
        if self._allowed is not None and not self._allowed & {"scram-sha-256", "oauth"}:
            self._check_allowed("scram-sha-256", "server requested SASL authentication")
        mechanism = self._choose(offered)
        self._check_allowed("scram-sha-256", f"server requested {mechanism.name} authentication")
        return mechanism

    def only_mechanism(self) -> Mechanism | None:
        """Return the mechanism that would be chosen from every list; `None` if the choice depends on the list.

        If policy would refuse the mechanism, return `None`: like libpq, report the error after the server's request.
        """
        if not self._binding_required and self._allowed != frozenset(["scram-sha-256"]):
            return None
        mechanism = SCRAM_SHA_256_PLUS if self._binding_required else SCRAM_SHA_256
        depends_on_list = self._facts is not None and self._config.channel_binding is ChannelBinding.PREFER
        if depends_on_list or not self._config.pipelining:
            return None
        try:
            return self.choose_mechanism([mechanism])
        except Error:
            return None

    def _choose(self, offered: list[str]) -> Mechanism:
        if self._binding_required and self._facts is None:
            raise ChannelBindingError(
                "channel binding required, but SSL not in use",
                remedy="Channel binding requires TLS: enable it on the server, or remove channel_binding=require.",
            )
        plus = SCRAM_SHA_256_PLUS in offered
        only_oauth = _OAUTHBEARER in offered and not plus and SCRAM_SHA_256 not in offered
        if only_oauth:
            self._check_allowed("oauth", f"server requested {_OAUTHBEARER} authentication")
        if plus and self._facts is None:
            raise ProtocolError("server offered SCRAM-SHA-256-PLUS authentication over a non-SSL connection")
        if not plus and self._binding_required:
            raise ChannelBindingError(
                "channel binding is required, but server did not offer an authentication method that supports "
                "channel binding",
                remedy="A proxy that terminates TLS (PgBouncer, a cloud load balancer) cannot offer it: connect "
                "directly. Otherwise there may be a man in the middle.",
            )
        if not plus and SCRAM_SHA_256 not in offered:
            raise UnsupportedAuth(
                f"none of the server's SASL authentication mechanisms are supported: {_listed(offered)}",
                remedy=_NO_OAUTH if only_oauth else "This library supports SCRAM-SHA-256 and SCRAM-SHA-256-PLUS.",
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
            # Never "y": it states that the server does not offer channel binding, and PostgreSQL, which does offer it,
            # would report a downgrade attack.
            return self._unbound(offered, "n", f"channel binding is not possible: {exc.message}")
        if plus:
            return Mechanism(SCRAM_SHA_256_PLUS, "p", binding_type, self._binding)
        return self._unbound(offered, "y")

    def _check_certificate_sent(self) -> None:
        requested = self._facts.certificate_requested if self._facts is not None else False
        if requested is None:
            raise ConfigError(
                "this TLS backend does not report whether the server requested a client certificate",
                remedy="Use another TLS backend, or remove tls_client_cert_mode=require (sslcertmode).",
            )
        if not requested:
            raise ClientCertificateError(
                "server did not request an SSL certificate",
                remedy="Set ssl_ca_file on the server so that it requests one, or remove sslcertmode=require.",
            )
        if self._config.tls_client_cert is None:
            raise ClientCertificateError(
                "server accepted connection without a valid SSL certificate",
                remedy="Set tls_client_cert (sslcert), or remove sslcertmode=require.",
            )

    def _unbound(self, offered: list[str], flag: str, warning: str | None = None) -> Mechanism:
        if SCRAM_SHA_256 not in offered:
            raise UnsupportedAuth("the server offers only SCRAM-SHA-256-PLUS, and channel binding cannot be used")
        return Mechanism(SCRAM_SHA_256, flag, warning=warning)

    def _check_allowed(self, method: str, what: str) -> None:
        if self._allowed is not None and method not in self._allowed:
            remedy = "Change the role's line in pg_hba.conf, or require_auth."
            if method == "none":
                remedy += " The line has the method trust, cert, peer or ident."
            raise UnsupportedAuth(
                f'authentication method requirement "{self._config.require_auth}" failed: {what}', remedy=remedy
            )


def _listed(mechanisms: list[str]) -> str:
    """Format the list for a message, escaped and bounded, because the server is not authenticated."""
    shown = [visible(name, limit=_LONGEST_NAME) for name in mechanisms[:_SHOWN]]
    if len(mechanisms) > _SHOWN:
        shown.append(f"and {len(mechanisms) - _SHOWN} others")
    return ", ".join(shown) or "none"


def names_cleartext(config: Config) -> bool:
    """Return True if `require_auth` names ``password``. Forbidding another method (``!md5``) does not allow it."""
    return is_named(config, "password")


def is_named(config: Config, method: str) -> bool:
    """Return True if `require_auth` names a method as one that is allowed."""
    return method in (config.allowed_auth or ()) and "!" not in (config.require_auth or "")


def is_trusted(config: Config, level: TlsVerify, *, pinned: bool) -> bool:
    """Return True if the server's identity is proven.

    The level CA proves nothing with the default roots, because a public CA issues certificates to everyone.

    Args:
        config: The configuration, which has the trusted roots.
        level: The verification of the server's certificate.
        pinned: Whether the certificate matches one of `Config.tls_pins`.
    """
    return pinned or level is TlsVerify.FULL or (level is TlsVerify.CA and not config.tls_default_roots)
