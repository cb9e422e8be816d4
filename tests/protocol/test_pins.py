"""Pins: a server is known by its certificate's or its key's fingerprint, whoever signed it."""

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
def test_a_match(pin: str) -> None:
    """A pin in any spelling, of the certificate or of its key, lets the connection through, and is reported."""
    config = make(tls_verify="none", tls_pins=[OTHER, pin])
    driver = talk(WELCOME, facts=Facts(peer_certificate=CERTIFICATE))
    established = driver.run(handshake(config))
    assert established.pin == config.tls_pins[1]
    assert config.replace(tls_pins=[pin]).tls_pins == config.tls_pins[1:]  # in one spelling


@pytest.mark.parametrize("verify", ["none", "ca", "full"])
@pytest.mark.parametrize("certificate", [CERTIFICATE, ECDSA_SHA384])
def test_no_match(verify: str, certificate: bytes) -> None:
    """Another certificate ends the connection before anything is said, whatever else was verified."""
    driver = talk(WELCOME, facts=Facts(peer_certificate=certificate))
    with pytest.raises(CertificateError, match=hashlib.sha256(certificate).hexdigest()) as caught:
        driver.run(handshake(make(tls_verify=verify, tls_pins=[OTHER, "spki-sha256:" + "0" * 64])))
    assert caught.value.reason == "pin-mismatch"
    assert driver.log == ["Connect", "Send", "Receive", "StartTls"]


def test_a_pinned_server_is_trusted() -> None:
    """A server that is known by its fingerprint may be told the password, without an authority to vouch for it."""
    driver = talk(CLEARTEXT, WELCOME, facts=Facts(peer_certificate=CERTIFICATE))
    driver.run(handshake(make(tls_verify="none", tls_pins=[f"sha256:{DIGEST}"])))
    assert make().password.encode() in driver.all_sent


def test_a_certificate_without_its_key_matches_no_pin() -> None:
    """Where the engine does not check that the server holds the certificate's key, the certificate proves nothing."""
    driver = talk(CLEARTEXT, WELCOME, facts=Facts(peer_certificate=CERTIFICATE, possession_proven=False))
    with pytest.raises(ConfigError, match="has the key of its certificate"):
        driver.run(handshake(make(tls_verify="none", tls_pins=[f"sha256:{DIGEST}"])))
    assert driver.log == ["Connect", "Send", "Receive", "StartTls"]


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer"])
def test_pins_need_tls(mode: str) -> None:
    """A pin that a plain connection could evade is refused."""
    with pytest.raises(ConfigError, match="tls_pins, but TLS is not required"):
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
        [f"sha256:{base64.b64encode(KEY_DIGEST).decode()}"],  # which of the two would be meant?
        ["sha256:" + "g" * 64],
        ["spki-sha256:" + base64.b64encode(b"short").decode()],
        ["spki-sha256:!"],
    ],
)
def test_no_pins(pins: Any) -> None:
    """What is no fingerprint is refused when the configuration is built."""
    with pytest.raises(ConfigError):
        make(tls_pins=pins)


@given(st.lists(st.tuples(st.sampled_from(["sha256", "spki-sha256"]), st.binary(min_size=32, max_size=32))))
def test_one_spelling(values: list[tuple[str, bytes]]) -> None:
    """The spelling that pins are kept in is read as it stands."""
    pins = tuple(f"{kind}:{digest.hex()}" for kind, digest in values)
    assert parse_pins(pins) == pins
