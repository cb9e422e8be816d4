"""Checks of the server's name: which is sent, and which certificates are for it."""

from __future__ import annotations

import dataclasses

from babar_tls.config import TlsVerify
from babar_tls.errors import CertificateError, ConfigError
from babar_tls.testing.backend_checks._check import Trial, check, needs, raised, require
from babar_tls.testing.backend_checks._pair import NAME

_GOOD: list[tuple[tuple[str, ...], str]] = [
    ((NAME,), NAME),
    ((NAME,), "DB.Example.COM"),
    (("other.example.com", NAME), NAME),
    (("*.example.com",), NAME),
    (("xn--bcher-kva.example",), "xn--bcher-kva.example"),
    (("xn--bcher-kva.example",), "bücher.example"),
    (("127.0.0.1",), "127.0.0.1"),
    (("::1",), "::1"),
    (("::1",), "0:0::0:1"),
    (("*.com", NAME), NAME),
]
_BAD: list[tuple[tuple[str, ...], str]] = [
    ((NAME,), "example.com"),
    ((NAME,), "x.db.example.com"),
    ((NAME,), "db.example.comm"),
    ((NAME,), "other.example.com"),
    (("*.example.com",), "a.b.example.com"),
    (("*.example.com",), "example.com"),
    (("*.com",), "example.com"),
    (("*",), "localhost"),
    (("d*.example.com",), NAME),
    (("db.*.com",), NAME),
    (("127.0.0.1",), "127.0.0.2"),
    (("127.0.0.1",), "::ffff:127.0.0.1"),
    (("::1",), "::2"),
    (("127.0.0.1",), NAME),
    ((NAME,), "127.0.0.1"),
]


@check()
def matching(trial: Trial) -> None:
    """Any name of the certificate will do, in any case; ``*`` is one whole label; an address may be spelled anyhow."""
    for names, hostname in _GOOD:
        with trial.case(f"certificate for {', '.join(names)}; {hostname} wanted"):
            trial.pair(hostname, certificate=trial.world.authority.issue(*names)).handshake()


@check()
def mismatching(trial: Trial) -> None:
    """A certificate for somebody else is a CertificateError of reason hostname-mismatch that has both names."""
    for names, hostname in _BAD:
        with trial.case(f"certificate for {', '.join(names)}; {hostname} wanted"):
            pair = trial.pair(hostname, certificate=trial.world.authority.issue(*names))
            error = raised(CertificateError, "handshake", pair.handshake)
            require(error.reason == "hostname-mismatch", f"reason is {error.reason!r}")
            for name in (*names, hostname):
                require(name in error.message, f"the error does not name {name}: {error.message}")


@check()
def addresses_as_names(trial: Trial) -> None:
    """An address that stands in a dNSName is no address (RFC 9525 §6.5), and none is matched by a wildcard."""
    from cryptography import x509  # noqa: PLC0415

    for name in ("127.0.0.1", "*.0.0.1"):
        with trial.case(f"dNSName {name}"):
            certificate = trial.world.authority.issue(san=[x509.DNSName(name)])
            error = raised(CertificateError, "handshake", trial.pair("127.0.0.1", certificate=certificate).handshake)
            require(error.reason in ("hostname-mismatch", "invalid"), f"reason is {error.reason!r}")


@check()
def null_in_a_name(trial: Trial) -> None:
    """A name with a null in it does not stand for what is before the null."""
    from cryptography import x509  # noqa: PLC0415

    certificate = trial.world.authority.issue(san=[x509.DNSName(f"{NAME}\0.evil.example")])
    raised(CertificateError, "handshake", trial.pair(certificate=certificate).handshake)


@check()
def common_name_is_no_name(trial: Trial) -> None:
    """A common name does not count (RFC 9525 §6.3), and a certificate that has no other name is told apart."""
    old = trial.world.authority.issue(NAME, san=False)
    # A backend that states that it cannot compare common names does not: its TLS library does not constrain them.
    lenient = () if trial.capabilities.common_names else (trial.parameters(common_name=True),)
    for parameters in (trial.parameters(), *lenient):
        error = raised(CertificateError, "handshake", trial.pair(certificate=old, parameters=parameters).handshake)
        allowed = ("common-name-only", "hostname-mismatch")
        require(error.reason in allowed, f"reason is {error.reason!r}, not one of {allowed}")
    both = trial.world.authority.issue("other.example.com", common_name=NAME)
    error = raised(CertificateError, "handshake", trial.pair(certificate=both).handshake)
    require(error.reason == "hostname-mismatch", f"reason is {error.reason!r}")


@check()
def common_names(trial: Trial) -> None:
    """With `TlsParameters.common_name` a common name counts where there is no alternative name, and there alone."""
    needs(trial.capabilities.common_names, "the engine's capabilities say that it cannot")
    issue = trial.world.authority.issue
    lenient = trial.parameters(common_name=True)
    for parameters in (lenient, dataclasses.replace(lenient, send_server_name=False)):
        trial.pair(certificate=issue(NAME, san=False), parameters=parameters).handshake()
        trial.pair(certificate=issue(NAME), parameters=parameters).handshake()
        for version in trial.versions:
            for wrong in (issue("other.example.com", san=False), issue("other.example.com", common_name=NAME)):
                pair = trial.pair(certificate=wrong, parameters=parameters, version=version)
                error = raised(CertificateError, "handshake with another name", pair.handshake)
                require(error.reason == "hostname-mismatch", f"reason is {error.reason!r}")
                raised(CertificateError, "write() after it", pair.client.write, b"secret")
                require(pair.hear_or_nothing() == b"", "the server got data")


@check()
def lower_levels(trial: Trial) -> None:
    """With `TlsVerify.CA` and `NONE` a certificate for another name is accepted."""
    for level in (TlsVerify.CA, TlsVerify.NONE):
        with trial.case(f"verify={level.value}"):
            trial.pair("other.example.com", parameters=trial.parameters(verify=level)).handshake()


@check()
def server_name_indication(trial: Trial) -> None:
    """A name is sent as SNI, in A-labels; an address is not (RFC 6066 §3)."""
    cases = [(NAME, NAME), ("127.0.0.1", None), ("::1", None), ("bücher.example", "xn--bcher-kva.example")]
    for hostname, wanted in cases:
        for level in (TlsVerify.FULL, TlsVerify.NONE):
            with trial.case(f"{hostname}, verify={level.value}"):
                pair = trial.pair(hostname, parameters=trial.parameters(verify=level))
                pair.client.do_handshake()
                pair._send()
                sent = pair.server_name
                require(sent == wanted, f"the ClientHello has {sent!r}, not {wanted!r}")


@check()
def server_name_kept_back(trial: Trial) -> None:
    """With send_server_name=False no SNI is sent, and the name is verified all the same."""
    parameters = trial.parameters(send_server_name=False)
    for version in trial.versions:
        with trial.case(version):
            pair = trial.pair(version=version, parameters=parameters).handshake()
            require(pair.server_name is None, f"the ClientHello has {pair.server_name!r}")
            require(NAME.encode() not in pair.sent, "the name is elsewhere in what was sent")
            pair = trial.pair("other.example.com", version=version, parameters=parameters)
            error = raised(CertificateError, "handshake with another name", pair.handshake)
            require(error.reason == "hostname-mismatch", f"reason is {error.reason!r}")
            raised(CertificateError, "write() after it", pair.client.write, b"secret")
            require(pair.hear_or_nothing() == b"", "the server got data")


@check()
def impossible_names(trial: Trial) -> None:
    """A name that DNS cannot have is refused by wrap() with a ConfigError."""
    for hostname in (".example.com", "a..b", "x" * 64, "a." * 140 + "com"):
        with trial.case(hostname[:20]):
            raised(ConfigError, "wrap()", trial.wrap, hostname)
