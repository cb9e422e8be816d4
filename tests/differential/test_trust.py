"""The selection of trust anchors. `test_chains` compares the verdicts with OpenSSL."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("cryptography")

from cryptography import x509

from babar_tls import ConfigError
from babar_tls.backends import TlsParameters
from babar_tls.tls.chain_advice import KnownCertificate
from babar_tls.tls.material import TlsMaterial
from babar_tls.tls.root_files import read_roots
from babar_tls.tls.trust import Trust, load_roots, misused_anchor
from babar_tls.x509.certificate import Certificate, parse_certificate
from babar_tls.x509.pem import encode

from .certificates import NOW, SIGN_HANDSHAKES, SIGN_LISTS, Spec, below, certificate, leaf, root
from .table import NET, ORG

if TYPE_CHECKING:
    from pathlib import Path

R, S = root(), root("second root")
I = below(R)  # noqa: E741 - as R for the root
SELF = leaf(None)
DAY = 86400.0


def parsed(spec: Spec) -> Certificate:
    return parse_certificate(certificate(spec))


def trust(*specs: Spec) -> Trust:
    return Trust(KnownCertificate(parsed(spec), "/etc/root.crt", line) for line, spec in enumerate(specs, 1))


def anchors(*specs: Spec, after: float = 0) -> list[Spec]:
    by_der = {certificate(spec): spec for spec in specs}
    return [by_der[one.der] for one in trust(*specs).anchors(NOW.timestamp() + after).certificates]


@pytest.mark.parametrize(
    "spec",
    [
        R,
        R.but(usage=None),
        R.but(authority=None),
        R.but(version=1),
        R.but(purposes=("server", "client")),
        R.but(permitted=ORG),
        R.but(path_length=0),
        SELF,
        R.but(authority=False),
        R.but(usage=SIGN_LISTS),
    ],
)
def test_self_signed_certificate_is_an_anchor(spec: Spec) -> None:
    assert anchors(spec) == [spec]


@pytest.mark.parametrize(
    "spec",
    [
        R.but(time="past"),
        R.but(time="future"),
        R.but(purposes=("client",)),
        R.but(purposes=("any",)),
        SELF.but(purposes=("client",)),
        SELF.but(time="past"),
    ],
)
def test_root_that_is_not_valid_for_servers_now_is_not_an_anchor(spec: Spec) -> None:
    assert anchors(spec) == []
    assert anchors(spec, S) == [S]


def test_intermediate_is_an_anchor_if_an_anchor_has_issued_it() -> None:
    lower = below(I, "lower")
    assert anchors(lower, I, R) == [R, I, lower]
    assert anchors(I) == []
    assert anchors(I, S) == [S]
    assert anchors(lower, R) == [R]
    assert anchors(leaf(R), R) == [R]


@pytest.mark.parametrize(
    "changes",
    [
        {"time": "past"},
        {"authority": False},
        {"authority": None, "usage": None},
        {"usage": SIGN_LISTS},
        {"purposes": ("client",)},
        {"version": 1},
        {"authority_key": "wrong"},
    ],
)
def test_unsuitable_intermediate_is_not_an_anchor(changes: dict[str, object]) -> None:
    changed = I.but(**changes)
    assert anchors(changed, below(changed, "lower"), R) == [R]


@pytest.mark.parametrize(
    "changes",
    [
        {"time": "past"},
        {"authority": False},
        {"usage": SIGN_LISTS},
        {"purposes": ("client",)},
        {"permitted": ORG},
        {"excluded": ORG},
        {"permitted": NET},
    ],
)
def test_intermediate_of_an_unsuitable_or_constrained_issuer_is_not_an_anchor(changes: dict[str, object]) -> None:
    changed = R.but(**changes)
    assert I not in anchors(I, changed)
    lower = below(I, "lower")
    assert lower not in anchors(lower, I.but(**changes), R)


def test_certificate_that_is_given_twice_is_one_anchor() -> None:
    assert len(trust(R, R).anchors(NOW.timestamp()).certificates) == 1


def test_anchors_change_with_time() -> None:
    assert anchors(R, S.but(time="future")) == [R]
    assert anchors(R, S.but(time="future"), after=2 * DAY) == [R, S.but(time="future")]
    assert anchors(R, I, S.but(time="past"), after=100 * DAY) == []
    found = trust(R, S.but(time="future"), I.but(time="past"))
    assert found.anchors(NOW.timestamp()).valid_until == pytest.approx((NOW + timedelta(days=1)).timestamp(), abs=1)
    assert found.anchors(NOW.timestamp() + 2 * DAY).valid_until == parsed(R).not_after
    assert found.anchors(NOW.timestamp() + 100 * DAY).valid_until == math.inf


POOL = [
    *(spec.but(time=time) for spec in (R, S, I) for time in ("now", "past", "future")),
    *(below(I, "lower"), SELF),
]
MOMENTS = st.floats(NOW.timestamp() - 20 * DAY, NOW.timestamp() + 200 * DAY) | st.sampled_from(
    [
        moment + step
        for spec in POOL
        for moment in (parsed(spec).not_before, parsed(spec).not_after)
        for step in (-1, 0, 1)
    ]
)


@given(st.lists(st.sampled_from(POOL), max_size=5), MOMENTS, MOMENTS)
def test_anchors_are_the_same_until_valid_until(specs: list[Spec], now: float, later: float) -> None:
    found = trust(*specs)
    first = found.anchors(now)
    assert first.valid_until >= now
    assert found.anchors(first.valid_until if first.valid_until < math.inf else now) == first
    if now <= later <= first.valid_until:
        assert found.anchors(later) == first
    if not first.certificates:
        roots = [spec for spec in specs if spec.is_self_signed]
        assert (found.fault(now) is not None) is bool(roots)


@pytest.mark.parametrize(
    ("changes", "reason", "text"),
    [
        ({"time": "past"}, "expired", "certificate has expired"),
        ({"time": "future"}, "not-yet-valid", "certificate is not yet valid"),
        ({"purposes": ("client",)}, "purpose", "unsuitable certificate purpose"),
    ],
)
def test_error_without_anchors_names_file_and_reason(changes: dict[str, object], reason: str, text: str) -> None:
    error = trust(R.but(**changes), I).fault(NOW.timestamp())
    assert error is not None
    assert error.reason == reason
    assert error.message.startswith(f"SSL error: certificate verify failed: {text}: the CA certificate")
    assert '"root" in "/etc/root.crt" (line 1) ' in error.message
    assert error.remedy


def test_error_without_anchors_names_the_date() -> None:
    error = trust(R.but(time="past")).fault(NOW.timestamp())
    assert error is not None
    day = datetime.fromtimestamp(parsed(R.but(time="past")).not_after, UTC).strftime("%Y-%m-%d")
    assert f"expired on {day}" in error.message
    assert '"/etc/root.crt"' in (error.remedy or "")


def test_without_roots_there_is_no_error_about_roots() -> None:
    assert trust(I).fault(NOW.timestamp()) is None


@pytest.mark.parametrize(
    "barred",
    [
        SELF,
        SELF.but(authority=None, usage=None),
        R.but(authority=False),
        R.but(usage=SIGN_LISTS),
        R.but(usage=SIGN_HANDSHAKES),
    ],
)
def test_anchor_that_may_not_sign_is_named_as_issuer(barred: Spec) -> None:
    forged = leaf(barred, subject="forged")
    known = [parsed(S), parsed(barred)]
    for sent in ([forged], [forged, barred], [leaf(below(barred)), below(barred)], [leaf(S), forged]):
        error = misused_anchor(known, [certificate(spec) for spec in sent])
        assert error is not None
        assert (error.reason, error.message) == (
            "invalid",
            "SSL error: certificate verify failed: invalid CA certificate",
        )
    for good in ([barred], [leaf(S)], [leaf(S), S], [leaf(below(S)), below(S), S], []):
        assert misused_anchor(known, [certificate(spec) for spec in good]) is None


def test_renewed_certificate_of_a_trusted_server_is_not_trusted_itself() -> None:
    renewed = SELF.but(serial=1)
    assert misused_anchor([parsed(SELF)], [certificate(renewed)]) is not None
    assert misused_anchor([parsed(SELF), parsed(renewed)], [certificate(renewed)]) is None


@pytest.mark.parametrize("junk", ["3006300030003000", "300730020000", "3000", ""])
def test_unreadable_certificate_is_refused_if_an_anchor_may_not_sign(junk: str) -> None:
    chain = [certificate(SELF), bytes.fromhex(junk)]
    error = misused_anchor([parsed(SELF)], chain)
    assert error is not None
    assert "malformed certificate" in error.message
    assert misused_anchor([parsed(R)], chain) is None


def test_roots_are_read_with_their_files_and_lines(tmp_path: Path) -> None:
    path = tmp_path / "root.crt"
    path.write_bytes(b"# comment\n" + encode("CERTIFICATE", certificate(R)) + encode("CERTIFICATE", certificate(S)))
    roots = read_roots(TlsParameters(root_cert_path=str(path), default_roots=False))
    first, second = load_roots(roots, "rustls")
    assert (first.certificate, first.path, first.line) == (parsed(R), str(path), 2)
    assert (second.certificate, second.path) == (parsed(S), str(path))


def test_damaged_certificate_in_a_root_file_is_a_configuration_error(tmp_path: Path) -> None:
    path = tmp_path / "root.crt"
    path.write_bytes(encode("CERTIFICATE", certificate(R)[:-1] + b"\0\0"))
    with pytest.raises(ConfigError, match=r"root\.crt"):
        load_roots(read_roots(TlsParameters(root_cert_path=str(path), default_roots=False)), "rustls")
    path.write_bytes(encode("CERTIFICATE", bytes.fromhex("3006300030003000")))
    with pytest.raises(ConfigError, match="damaged certificate, line 1"):
        load_roots(read_roots(TlsParameters(root_cert_path=str(path), default_roots=False)), "rustls")


def test_invalid_certificate_does_not_make_a_bundle_unusable(tmp_path: Path) -> None:
    path = tmp_path / "root.crt"
    usage = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.15"), b"\x03\x02\x09\x04")
    odd = certificate(S.but(usage=None, more=((usage, False),)))
    path.write_bytes(encode("CERTIFICATE", odd) + encode("CERTIFICATE", certificate(R)))
    roots = read_roots(TlsParameters(root_cert_path=str(path), default_roots=False))
    assert [one.certificate for one in load_roots(roots, "rustls")] == [parsed(R)]
    path.write_bytes(encode("CERTIFICATE", odd))
    with pytest.raises(ConfigError, match="damaged certificate, line 1"):
        load_roots(read_roots(TlsParameters(root_cert_path=str(path), default_roots=False)), "rustls")


def test_intermediates_are_anchors_only_for_libraries_that_verify_their_signatures(tmp_path: Path) -> None:
    path = tmp_path / "root.crt"
    path.write_bytes(encode("CERTIFICATE", certificate(R)) + encode("CERTIFICATE", certificate(I)))
    material = TlsMaterial(TlsParameters(root_cert_path=str(path), default_roots=False), system_store=False)
    assert material.trust_anchors("a library") == (parsed(R),)
    assert material.trust_anchors("rustls", with_intermediates=True) == (parsed(R), parsed(I))
