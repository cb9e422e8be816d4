"""Weaknesses of a session that its configuration did not choose, for warnings in the log.

A configuration may allow a stronger session than the server offers. The user learns from a warning that the session is
weaker. A weakness that the configuration names is the user's choice, and a warning would be noise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..config.enums import ChannelBinding, TlsMode, TlsVerify
from ..protocol.policy import is_named, is_trusted
from .connection import authentication_warnings, with_advice
from .weaknesses import PLAIN_TEXT, Remedy, Weakness, unbound

if TYPE_CHECKING:
    from ..config import Config
    from ..security import SecurityReport


def unexpected_weaknesses(config: Config, security: SecurityReport, *, local: bool) -> list[str]:
    """Return the weaknesses that were not chosen, each with its remedy.

    * Plain text, unless `tls_mode` is DISABLE.
    * Authentication that is not bound to the TLS channel of a server whose certificate proves nothing, unless
      `channel_binding` is DISABLE. With a proven certificate, every pooler would
      cause a warning that the user cannot act on.
    * Authentication without a password, with MD5 or with the password itself, unless `require_auth` names the method.
      A client certificate replaces the password, unless it must not be presented. A password from a callable is a
      token, which is sent as it is.
    * Few SCRAM iterations.

    Args:
        config: The configuration of the session.
        security: Its report.
        local: The connection is a Unix-domain socket.
    """
    found = []
    if not security.tls:
        if not local and config.tls_mode is not TlsMode.DISABLE:
            found.append(with_advice(PLAIN_TEXT))
    elif _is_unexpectedly_unbound(config, security):
        found.append(with_advice(Weakness(unbound("is not"), Remedy.BIND)))
    method = security.auth_method
    is_chosen = (
        is_named(config, method)
        or (method == "none" and security.tls and config.tls_parameters.client_certificate is not None)
        or (method == "password" and callable(config.password))
    )
    if method.startswith("scram") or not is_chosen:
        found += authentication_warnings(security, local=local)
    return found


def _is_unexpectedly_unbound(config: Config, security: SecurityReport) -> bool:
    """Return True if binding was possible for the client, and nothing else proves the server's identity.

    If it was not possible (the flag ``n``), the connect has logged the reason.
    """
    return (
        security.gs2_flag == "y"
        and config.channel_binding is not ChannelBinding.DISABLE
        and not is_trusted(config, TlsVerify(security.verified), pinned=security.pin is not None)
    )
