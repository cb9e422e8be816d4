"""The exploration detects deliberate faults in the library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from babar_tls.errors import TlsError
from babar_tls.protocol import authentication, handshake, negotiation, policy
from babar_tls.protocol.authentication import AuthState
from babar_tls.protocol.policy import Policy
from babar_tls.protocol.scram import SCRAM_SHA_256, ScramClient
from babar_tls.protocol.startup import Negotiated, Startup

from .explorer import explore
from .situations import REFUSALS, Situation, situation

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

Patch = pytest.MonkeyPatch


def _finish_without_check(patch: Patch) -> None:
    patch.setattr(Policy, "check_finished", lambda *_args, **_named: None)


def _accept_each_request(patch: Patch) -> None:
    patch.setattr(Policy, "check_request", lambda *_: None)


def _skip_require_auth(patch: Patch) -> None:
    patch.setattr(Policy, "_check_allowed", lambda *_: None)


def _skip_server_signature(patch: Patch) -> None:
    patch.setattr(ScramClient, "receive_server_final", lambda *_: None)


def _accept_early_ok(patch: Patch) -> None:
    for state in (AuthState.SASL_STARTED, AuthState.PROOF_SENT):
        patch.setitem(authentication._TRANSITIONS, (state, 0), AuthState.FINISHED)


def _accept_each_nonce(patch: Patch) -> None:
    original = ScramClient.receive_server_first

    def accept(self: ScramClient, message: bytes) -> Any:
        self._nonce = b""
        return original(self, message)

    patch.setattr(ScramClient, "receive_server_first", accept)


def _trust_each_server(patch: Patch) -> None:
    patch.setattr(policy, "is_trusted", lambda *_args, **_named: True)


def _ignore_plus(patch: Patch) -> None:
    original = Policy.choose_mechanism
    patch.setattr(Policy, "choose_mechanism", lambda self, _offered: original(self, [SCRAM_SHA_256]))


def _retry_after_each_error(patch: Patch) -> None:
    patch.setattr(handshake, "allows_next_attempt", lambda *_args, **_named: True)


def _continue_without_tls(patch: Patch) -> None:
    original = negotiation._request_tls

    def ask(attempt: negotiation.Attempt) -> Generator[Any, Any, bytes | None]:
        try:
            return (yield from original(attempt))
        except TlsError:
            return None

    patch.setattr(negotiation, "_request_tls", ask)


def _raise_key_error_for_errors(patch: Patch) -> None:
    def raise_key_error(payload: bytes) -> dict[str, str]:
        raise KeyError(payload)

    patch.setattr("babar_tls.protocol.messages.parse_fields", raise_key_error)


def _accept_each_negotiation(patch: Patch) -> None:
    patch.setattr(Startup, "negotiate", lambda *_: Negotiated(3 << 16))


def _ignore_negotiation(patch: Patch) -> None:
    patch.setattr(Startup, "negotiate", lambda self, _payload: Negotiated(self.requested))


@pytest.mark.parametrize(
    ("mutate", "chosen", "depth", "expected"),
    [
        (_finish_without_check, situation(channel_binding="require"), 1, "the channel is not bound"),
        (_finish_without_check, situation(require_auth="!none"), 1, "require_auth forbids 'none'"),
        (_finish_without_check, situation(client_certificate="not requested"), 1, "client certificate was not used"),
        (_accept_each_request, situation(channel_binding="require"), 1, "the cleartext password sent"),
        (_accept_each_request, situation(require_auth="scram-sha-256"), 1, "an md5 digest sent"),
        (_skip_require_auth, situation(require_auth="none"), 1, "client-first-message"),
        (_skip_server_signature, situation(), 3, "invalid authentication request, 12"),
        (_accept_early_ok, situation(), 2, "has not proven that it knows the password"),
        (_accept_early_ok, situation(), 3, "has not proven that it knows the password"),
        (_accept_each_nonce, situation(), 2, "SCRAM keys derived"),
        (_accept_each_nonce, situation(credentials="keys"), 2, "a SCRAM proof sent"),
        (_trust_each_server, situation(verify="none"), 1, "the cleartext password sent"),
        (_trust_each_server, situation(verify="none"), 1, "an md5 digest sent without a warning"),
        (_trust_each_server, situation(transport="prefer, no TLS"), 1, "the cleartext password sent"),
        (_ignore_plus, situation(), 1, "client-first-message b'y,,"),
        (_retry_after_each_error, situation(transport="fallback"), 3, "another connection"),
        (_continue_without_tls, Situation(transport=REFUSALS["require, error"]), 0, "StartupMessage sent"),
        (_raise_key_error_for_errors, situation(), 1, "KeyError raised"),
        (_accept_each_negotiation, situation(protocol="3.2"), 1, "invalid NegotiateProtocolVersion"),
        (_ignore_negotiation, situation(protocol="3.0 to 3.2"), 2, "protocol_version is '3.2', not '3.0'"),
    ],
)
def test_deliberate_fault_is_found(
    mutate: Callable[[Patch], None], chosen: Situation, depth: int, expected: str
) -> None:
    assert not explore([chosen], depth).findings
    with pytest.MonkeyPatch.context() as patch:
        mutate(patch)
        findings = explore([chosen], depth).findings
    assert [finding for finding in findings if expected in finding.what], "\n".join(map(str, findings))
