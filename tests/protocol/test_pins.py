"""Pins: fingerprints of the server's certificate or key, independent of its CA."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from ssl import PEM_cert_to_DER_cert
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from babar_tls.config.pins import parse_pins
from babar_tls.errors import CertificateError, ConfigError
from babar_tls.protocol.handshake import handshake
from babar_tls.x509.certificate import public_key_info

from .configs import make
from .script import CLEARTEXT, ECDSA_SHA384, WELCOME, Facts, talk

CERTIFICATE = PEM_cert_to_DER_cert((Path(__file__).parents[1] / "data" / "server.pem").read_text())
DIGEST = hashlib.sha256(CERTIFICATE).hexdigest()
KEY_DIGEST = hashlib.sha256(public_key_info(CERTIFICATE)).digest()
OTHER = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    "pin",
    [
        f"sha256:{DIGEST}",
        f"sha256:{DIGEST.upper()}",
        "sha256:" + ":".join(DIGEST[i : i + 2] for i in range(0, 64, 2)),
        f" sha256:{DIGEST} ",
        "sha256 Fingerprint=" + ":".join(DIGEST[i : i + 2] for i in range(0, 64, 2)).upper(),
        f"spki-sha256:{KEY_DIGEST.hex()}",
        f"spki-sha256:{base64.b64encode(KEY_DIGEST).decode()}",
        f"sha256//{base64.b64encode(KEY_DIGEST).decode()}",
    ],
)
def test_matching_pin_is_accepted_and_reported(pin: str) -> None:
    """Pins of certificates and keys have several spellings."""
    config = make(tls_verify="none", tls_pins=[OTHER, pin])
    driver = talk(WELCOME, facts=Facts(peer_certificate=CERTIFICATE))
    established = driver.run(handshake(config))
    assert established.pin == config.tls_pins[1]
    assert config.replace(tls_pins=[pin]).tls_pins == config.tls_pins[1:]  # the canonical spelling


@pytest.mark.parametrize("verify", ["none", "ca", "full"])
@pytest.mark.parametrize("certificate", [CERTIFICATE, ECDSA_SHA384])
def test_other_certificate_is_refused_before_anything_is_sent(verify: str, certificate: bytes) -> None:
    driver = talk(WELCOME, facts=Facts(peer_certificate=certificate))
    with pytest.raises(CertificateError, match=hashlib.sha256(certificate).hexdigest()) as caught:
        driver.run(handshake(make(tls_verify=verify, tls_pins=[OTHER, "spki-sha256:" + "0" * 64])))
    assert caught.value.reason == "pin-mismatch"
    assert driver.log == ["Connect", "Send", "Receive", "StartTls"]


def test_pinned_server_receives_a_cleartext_password() -> None:
    """No CA is needed."""
    driver = talk(CLEARTEXT, WELCOME, facts=Facts(peer_certificate=CERTIFICATE))
    driver.run(handshake(make(tls_verify="none", tls_pins=[f"sha256:{DIGEST}"])))
    assert make().password.encode() in driver.all_sent


def test_pin_needs_proof_of_possession() -> None:
    """Some backends do not check that an unverified server has the private key of its certificate."""
    driver = talk(CLEARTEXT, WELCOME, facts=Facts(peer_certificate=CERTIFICATE, possession_proven=False))
    with pytest.raises(ConfigError, match="has the private key of its certificate"):
        driver.run(handshake(make(tls_verify="none", tls_pins=[f"sha256:{DIGEST}"])))
    assert driver.log == ["Connect", "Send", "Receive", "StartTls"]


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer"])
def test_pins_without_required_tls_are_refused(mode: str) -> None:
    with pytest.raises(ConfigError, match="tls_pins is set, but TLS is not required"):
        make(tls_mode=mode, tls_pins=[OTHER])


@pytest.mark.parametrize(
    "pins",
    [
        f"sha256:{DIGEST}",
        b"sha256",
        None,
        1,
        [b"sha256:"],
        [""],
        [DIGEST],
        [f"md5:{DIGEST}"],
        [f"sha256:{DIGEST[:-1]}"],
        [f"sha256:{DIGEST}0"],
        [f"sha256:{base64.b64encode(KEY_DIGEST).decode()}"],  # ambiguous: certificate or key
        ["sha256:" + "g" * 64],
        ["spki-sha256:" + base64.b64encode(b"short").decode()],
        ["spki-sha256:!"],
    ],
)
def test_invalid_pins_are_refused(pins: Any) -> None:
    with pytest.raises(ConfigError):
        make(tls_pins=pins)


@given(st.lists(st.tuples(st.sampled_from(["sha256", "spki-sha256"]), st.binary(min_size=32, max_size=32))))
def test_canonical_spelling_is_parsed_unchanged(values: list[tuple[str, bytes]]) -> None:
    pins = tuple(f"{kind}:{digest.hex()}" for kind, digest in values)
    assert parse_pins(pins) == pins
