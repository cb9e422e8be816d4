"""Stage ``channel-binding``: which types of channel binding work on this connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..config.enums import CHANNEL_BINDING_TYPES, ChannelBinding, TlsVerify
from ..errors import Error
from ..net.deadline import Meter
from ..protocol.channel_binding import DEFAULT_TYPE, channel_binding_data
from ..protocol.negotiation import Attempt, secure
from ..protocol.scram import SCRAM_SHA_256_PLUS
from .case import run, unverified
from .causes import Cause
from .first_request import CLEARTEXT, MD5, OK, SASL

if TYPE_CHECKING:
    from ..config.enums import ChannelBindingType
    from ..tls.contract import TlsFacts
    from .case import Case, Notes

_NO_PLUS = (
    "A pooler or load balancer that terminates TLS cannot offer it: connect to PostgreSQL directly{}. Otherwise there "
    "may be a man in the middle."
)
_NO_SCRAM = "Only SCRAM supports it: the role needs a scram-sha-256 password and line in pg_hba.conf."
_CERTIFICATE = "Use a certificate that is signed with RSA or ECDSA and SHA-256."
_ONLY_END_POINT = "Remove channel_binding_type: PostgreSQL supports only tls-server-end-point."


def check_bindings(case: Case, notes: Notes) -> None:
    """Compute the binding data of each type, and compare it with the server's offer."""
    facts = case.require_handshake()
    meter = Meter(case.timeout)
    reasons = {kind: _reason(case, facts, kind, meter) for kind in CHANNEL_BINDING_TYPES}
    for kind, reason in reasons.items():
        notes.observe(f"{kind}: {'possible' if reason is None else f'not possible: {reason.message}'}")
    if case.config.channel_binding is ChannelBinding.DISABLE:
        notes.observe("The configuration does not use channel binding.")
        return
    wanted = case.config.channel_binding_type or DEFAULT_TYPE
    reason = reasons.get(wanted)
    is_required = case.config.channel_binding is ChannelBinding.REQUIRE
    report = notes.fault if is_required else notes.warn
    if reason is not None:
        remedy = reason.remedy or (_CERTIFICATE if wanted == DEFAULT_TYPE else _ONLY_END_POINT)
        report(Cause.BINDING_IMPOSSIBLE, f"channel binding is not possible: {reason.message}", remedy)
    if case.code is None or case.login_facts is None:
        return
    if case.code == SASL and SCRAM_SHA_256_PLUS not in case.mechanisms:
        alternative = ", or remove channel_binding=require" if is_required else ""
        report(
            Cause.BINDING_NOT_OFFERED, f"the server does not offer {SCRAM_SHA_256_PLUS}", _NO_PLUS.format(alternative)
        )
    elif is_required and case.code in (OK, CLEARTEXT, MD5):
        report(
            Cause.BINDING_NOT_OFFERED, "the server's authentication method does not support channel binding", _NO_SCRAM
        )


def _reason(case: Case, facts: TlsFacts, kind: ChannelBindingType, meter: Meter) -> Error | None:
    """Return the reason why a type of channel binding does not work, `None` if it works."""
    try:
        if kind != DEFAULT_TYPE:
            config = unverified(case.reached_config).replace(channel_binding_type=kind)
            facts = run(config, secure(config, Attempt.TLS), meter) or facts
        elif case.config.tls_verify is not TlsVerify.NONE and not facts.possession_proven:
            # The unverified handshake of this backend proves nothing; a verified one does.
            facts = facts._replace(possession_proven=True)
        channel_binding_data(kind, facts)
    except Error as error:
        return error
    return None
