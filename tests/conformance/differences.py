"""The deliberate differences between this library and libpq."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from .cases import Case


@dataclass(frozen=True)
class Difference:
    """A deliberate difference.

    Attributes:
        name: As docs/conformance.md calls it.
        reason: Why.
        applies: Returns True for a case that shows it; that case must differ with every backend.
        ours: A regular expression for a part of this library's error; empty if it connects.
    """

    name: str
    reason: str
    applies: Callable[[Case], bool]
    ours: str


def _mode(case: Case) -> str:
    return case.get("sslmode")


def _local(case: Case) -> bool:
    return case.get("host").startswith("{")


def _server_has_tls(case: Case) -> bool:
    return case.servers[:1] != () and case.servers[0].startswith(("tls", "certs"))


def _tls_is_tried(case: Case) -> bool:
    """Return True if the first attempt uses TLS."""
    return _server_has_tls(case) and not _local(case) and _mode(case) not in ("disable", "allow")


def _asked_for_password(case: Case) -> bool:
    """Return True if the server requests a cleartext password, is not verified, and require_auth allows it."""
    method, _, scope = case.get("user").partition("_")
    tls, mode, allowed = _server_has_tls(case), _mode(case), case.get("require_auth")
    if method != "password" or scope == "local" or case.get("channel_binding") == "require":
        return False
    if allowed and (not allowed.startswith("!") or "!password" in allowed):
        return False
    reached = {
        "any": ("disable", "allow", "prefer", "require") if tls else ("disable", "allow", "prefer"),
        "ssl": ("allow", "prefer", "require") if tls else (),
        "nossl": ("disable", "allow", "prefer"),
    }
    return mode in reached[scope]


def _unusable_client_file(case: Case) -> bool:
    """Return True if the client certificate or its key is unusable; a missing certificate is another difference."""
    broken = case.get("sslkey") in ("{missing}", "{open_key}", "{expired_key}", "{no_key}") or not case.get("sslkey")
    mismatched = case.get("sslkey") == "{expired_key}" and case.get("sslcert") == "{expired_cert}"
    return (
        case.get("sslcert") in ("{good_cert}", "{no_cert}", "{folder}")
        and (broken or case.get("sslcert") != "{good_cert}")
        and not mismatched
    )


def _binding_without_tls(case: Case) -> bool:
    return case.get("channel_binding") == "require" and (_mode(case) == "disable" or _local(case))


def _stuffed(case: Case) -> bool:
    modes = {("S and more",): ("require",), ("N and more",): ("prefer", "require")}
    return _mode(case) in modes.get(case.servers[:1], ())


def _signed_by_ed25519(case: Case) -> bool:
    return "Ed25519" in case.setup


DIFFERENCES = (
    Difference(
        "cleartext passwords",
        "A man in the middle reads them.",
        _asked_for_password,
        "server requested a cleartext password, which a man in the middle could read",
    ),
    Difference(
        "missing root file",
        "A wrong path must not disable verification.",
        lambda case: (
            case.get("sslrootcert") == "{missing}"
            and (_tls_is_tried(case) or case.get("sslnegotiation") == "direct")
            and _mode(case) in ("prefer", "require")
        ),
        "does not exist",
    ),
    Difference(
        "unusable root file",
        "As a missing one; libpq continues without TLS with sslmode=prefer.",
        lambda case: (
            case.get("sslrootcert") in ("{no_root}", "{folder}") and _mode(case) == "prefer" and _tls_is_tried(case)
        ),
        "could not read root certificate file",
    ),
    Difference(
        "missing client certificate",
        "A configured certificate must be sent; libpq continues without it.",
        lambda case: (
            case.get("sslcert") == "{missing}" and case.get("sslcertmode") != "disable" and _tls_is_tried(case)
        ),
        "does not exist",
    ),
    Difference(
        "unusable client certificate",
        "An unusable file must not disable TLS, as it does in libpq with sslmode=prefer.",
        lambda case: _unusable_client_file(case) and _mode(case) == "prefer" and _tls_is_tried(case),
        "private key file|could not read certificate file",
    ),
    Difference(
        "missing revocation list",
        "Configured lists must be used; libpq ignores a missing file, and does not name the directory.",
        lambda case: (
            (case.get("sslcrl") in ("{missing}", "{no_crl}") or case.get("sslcrldir") == "{missing}")
            and case.get("sslrootcert") != ""
            and _tls_is_tried(case)
        ),
        "certificate revocation list",
    ),
    Difference(
        "channel binding without TLS",
        "It is not possible, so the client does not connect.",
        _binding_without_tls,
        "channel binding required, but SSL not in use",
    ),
    Difference(
        "bytes after the answer to SSLRequest",
        "An attacker injects plain text (CVE-2021-23222): an error, without another attempt.",
        _stuffed,
        "received unencrypted data after SSL response",
    ),
    Difference(
        "late negotiation of the protocol",
        "The protocol does not allow it; libpq accepts NegotiateProtocolVersion until AuthenticationOk.",
        lambda case: case.servers[:1] == ("old, late",),
        "received a protocol negotiation message after an authentication request",
    ),
    Difference(
        "wildcard of a whole top-level domain",
        "A CA must not issue *.com, so such a certificate is not accepted.",
        lambda case: case.setup == "wildcard of two labels" and case.get("host") == "example.com",
        "does not match host name",
    ),
    Difference(
        "Ed25519 and preferred channel binding",
        "The certificate has no hash to bind with: this library warns and does not bind; libpq cannot log in.",
        lambda case: _signed_by_ed25519(case) and case.get("channel_binding") == "prefer",
        "",
    ),
    Difference(
        "Ed25519 and required channel binding",
        "Both fail; the error of this library has the reason.",
        lambda case: _signed_by_ed25519(case) and case.get("channel_binding") == "require",
        "signed with Ed25519",
    ),
    Difference(
        "old TLS versions",
        "TLS 1.1 and older are insecure and not supported here; libpq leaves the decision to OpenSSL.",
        lambda case: case.get("ssl_max_protocol_version") == "TLSv1.1",
        "invalid SSL protocol version range",
    ),
    Difference(
        "nonsense is found early",
        "A value that is not a number is an error before the client connects.",
        lambda case: case.get("connect_timeout") in ("bogus", "1x"),
        'for connection option "connect_timeout"',
    ),
    Difference(
        "unknown keywords",
        "Both fail; this library does not show the keyword, which may be a part of an unquoted password.",
        lambda case: case.get("nosuchkeyword") != "",
        r"invalid connection option\n",
    ),
)


def difference(case: Case) -> Difference | None:
    """Return the difference that a case shows, or `None` if both clients must agree."""
    found = [item for item in DIFFERENCES if item.applies(case)]
    assert len(found) < 2, f"{case} is claimed by {[item.name for item in found]}"
    return found[0] if found else None
