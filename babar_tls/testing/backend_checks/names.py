"""Checks of names. The connection compares them: the backend sends SNI, and must not compare names."""

from __future__ import annotations

from cryptography import x509

from babar_tls.config import TlsVerify
from babar_tls.testing.backend_checks._check import NotApplicable, Trial, check, refused
from babar_tls.testing.backend_checks._pair import NAME

_GOOD: list[tuple[tuple[str, ...], str]] = [
    ((NAME,), "DB.Example.COM"),
    (("other.example.com", NAME), NAME),
    (("*.example.com",), NAME),
    (("xn--bcher-kva.example",), "bücher.example"),
    (("127.0.0.1",), "127.0.0.1"),
    (("::1",), "0:0::0:1"),
    (("*.com", NAME), NAME),
]
_BAD = [(NAME, "other.example.com"), (NAME, "127.0.0.1"), ("127.0.0.1", NAME)]


@check()
def matching(trial: Trial) -> None:
    """A backend does not refuse a certificate whose name matches."""
    for names, hostname in _GOOD:
        with trial.case(f"certificate for {', '.join(names)}, connection to {hostname}"):
            trial.pair(hostname, certificate=trial.fixtures.authority.issue(*names)).handshake()


@check(per_version=True)
def mismatching(trial: Trial, version: str) -> None:
    """A certificate for another name is refused, and the server receives an alert and no data."""
    for name, hostname in _BAD:
        with trial.case(f"certificate for {name}, connection to {hostname}"):
            pair = trial.pair(hostname, certificate=trial.fixtures.authority.issue(name), version=version)
            refused(pair, "hostname-mismatch")
            assert pair.server_error is not None, "the server received no alert"


@check(cases={f"connection to {hostname}": hostname for hostname in ("other.example.com", "127.0.0.1", None)})
def lower_levels(trial: Trial, hostname: str | None) -> None:
    """With `TlsVerify.CA` and `NONE` a certificate for another name is accepted, and a hostname is not required."""
    for level in (TlsVerify.CA, TlsVerify.NONE):
        with trial.case(f"verify={level.value}"):
            trial.pair(hostname, parameters=trial.parameters(verify=level)).handshake()


@check()
def common_names(trial: Trial) -> None:
    """A backend with `Capabilities.common_names` applies a CA's name constraints to the subject's common name."""
    if not trial.capabilities.common_names:
        raise NotApplicable("the backend states that it does not apply name constraints to common names")
    parameters = trial.parameters(common_name=True)
    root = trial.fixtures.authority
    trial.pair(certificate=root.issue(NAME, san=False), parameters=parameters).handshake()
    constraint = x509.NameConstraints(permitted_subtrees=[x509.DNSName("example.org")], excluded_subtrees=None)
    outside = root.intermediate(extensions=[(constraint, True)]).issue(NAME, san=False)
    with trial.case("a common name outside the CA's name constraints"):
        refused(trial.pair(certificate=outside, parameters=parameters))


@check()
def server_name_indication(trial: Trial) -> None:
    """A hostname is sent as SNI, in A-labels; an IP address is not (RFC 6066 §3)."""
    cases = {NAME: NAME, "127.0.0.1": None, "::1": None, "bücher.example": "xn--bcher-kva.example"}
    for hostname, expected in cases.items():
        for level in (TlsVerify.FULL, TlsVerify.NONE):
            with trial.case(f"{hostname}, verify={level.value}"):
                pair = trial.pair(hostname, parameters=trial.parameters(verify=level))
                pair.first_flight()
                sent = pair.offer.server_name
                assert sent == expected, f"the ClientHello has {sent!r}, not {expected!r}"


@check(per_version=True)
def server_name_kept_back(trial: Trial, version: str) -> None:
    """With send_server_name=False no SNI is sent."""
    pair = trial.pair(version=version, parameters=trial.parameters(send_server_name=False)).handshake()
    assert pair.offer.server_name is None, f"the ClientHello has {pair.offer.server_name!r}"
    assert NAME.encode() not in pair.sent, "the name is elsewhere in what was sent"
