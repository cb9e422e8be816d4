"""The choice of the SCRAM mechanism and of the gs2 flag."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest

from babar_tls.errors import (
    AuthError,
    ChannelBindingError,
    ClientCertificateError,
    ConfigError,
    Error,
    ProtocolError,
    UnsupportedAuth,
)
from babar_tls.protocol.channel_binding import tls_server_end_point
from babar_tls.protocol.handshake import handshake

from .configs import PASSWORD, make
from .script import BOTH, ECDSA_SHA384, ED25519, WELCOME, Driver, Facts, ScramPeer, sasl, talk

PLUS = ("SCRAM-SHA-256-PLUS",)
PLAIN = ("SCRAM-SHA-256",)
END_POINT = {"tls-server-end-point": tls_server_end_point(ECDSA_SHA384)}


def log_in(
    offered: tuple[str, ...], bindings: dict[str, bytes] | None, facts: Facts | None, **overrides: Any
) -> tuple[ScramPeer, Driver, Any]:
    peer = ScramPeer(PASSWORD, offered=offered, bindings=bindings)
    driver = Driver([[b"S", *peer.script] if facts else [b"N", *peer.script]], facts=facts or Facts())
    established = driver.run(handshake(make(tls_mode="require" if facts else "prefer", **overrides)))
    return peer, driver, established


@pytest.mark.parametrize(
    ("offered", "bindings", "facts", "overrides", "header", "warned"),
    [
        (BOTH, END_POINT, Facts(), {}, b"p=tls-server-end-point,,", False),
        (BOTH, END_POINT, Facts(), {"channel_binding": "require"}, b"p=tls-server-end-point,,", False),
        (PLUS, END_POINT, Facts(), {}, b"p=tls-server-end-point,,", False),
        (BOTH, END_POINT, Facts(), {"channel_binding": "disable"}, b"n,,", False),
        (BOTH, END_POINT, Facts(peer_certificate=ED25519), {}, b"n,,", True),
        (PLAIN, None, Facts(), {}, b"y,,", False),
        (PLAIN, None, Facts(), {"channel_binding": "disable"}, b"n,,", False),
        (PLAIN, None, Facts(peer_certificate=ED25519), {}, b"n,,", True),
        (PLAIN, None, None, {}, b"n,,", False),
        (PLAIN, None, None, {"channel_binding": "disable"}, b"n,,", False),
        (
            BOTH,
            {"tls-exporter": b"E" * 32},
            Facts(),
            {"channel_binding_type": "tls-exporter"},
            b"p=tls-exporter,,",
            False,
        ),
        (
            BOTH,
            {"tls-unique": b"F" * 12},
            Facts(version="TLSv1.2"),
            {"channel_binding_type": "tls-unique"},
            b"p=tls-unique,,",
            False,
        ),
        (BOTH, END_POINT, Facts(), {"channel_binding_type": "tls-unique"}, b"n,,", True),
        (BOTH, END_POINT, Facts(exported=None), {"channel_binding_type": "tls-exporter"}, b"n,,", True),
    ],
)
def test_mechanism_and_gs2_header_for_each_situation(  # noqa: PLR0917 - a row of the table
    offered: tuple[str, ...],
    bindings: dict[str, bytes] | None,
    facts: Facts | None,
    overrides: dict[str, Any],
    header: bytes,
    warned: bool,
) -> None:
    """``c=`` repeats the gs2-header. A failed binding is logged."""
    peer, driver, established = log_in(offered, bindings, facts, **overrides)
    assert peer.client_first.startswith(header)
    bound = header.startswith(b"p")
    assert peer.mechanism == ("SCRAM-SHA-256-PLUS" if bound else "SCRAM-SHA-256")
    data = next(iter((bindings or {}).values())) if bound else b""
    assert peer.client_final.split(b",")[0] == b"c=" + base64.b64encode(header + data)
    assert bool(driver.warnings) == warned
    authenticated = established.authenticated
    assert authenticated.gs2_flag == header[:1].decode()
    assert authenticated.method == peer.mechanism.lower()
    assert authenticated.channel_binding_type == (header[2:-2].decode() if bound else None)
    assert authenticated.server_authenticated
    assert authenticated.scram_iterations == 1


def test_hash_of_the_channel_binding_is_reported() -> None:
    """Only tls-server-end-point has one."""
    assert log_in(BOTH, END_POINT, Facts())[2].authenticated.channel_binding_hash == "sha384"
    exporter = {"channel_binding_type": "tls-exporter"}
    assert log_in(BOTH, {"tls-exporter": b"E" * 32}, Facts(), **exporter)[2].authenticated.channel_binding_hash is None
    assert log_in(PLAIN, None, Facts())[2].authenticated.channel_binding_hash is None


@pytest.mark.parametrize(
    ("offered", "facts", "overrides", "kind", "text"),
    [
        (BOTH, Facts(peer_certificate=ED25519), {"channel_binding": "require"}, ChannelBindingError, "Ed25519"),
        (BOTH, Facts(peer_certificate=b"?"), {"channel_binding": "require"}, ChannelBindingError, "cannot be read"),
        (
            PLAIN,
            Facts(),
            {"channel_binding": "require"},
            ChannelBindingError,
            "channel binding is required, but server did not offer an authentication method that supports "
            "channel binding",
        ),
        ((), Facts(), {"channel_binding": "require"}, ChannelBindingError, "did not offer an authentication method"),
        (("OAUTHBEARER",), Facts(), {}, UnsupportedAuth, "none of the server's SASL authentication mechanisms"),
        (("OAUTHBEARER",), Facts(), {"require_auth": "oauth"}, UnsupportedAuth, "are supported: OAUTHBEARER"),
        (
            ("OAUTHBEARER",),
            Facts(),
            {"require_auth": "scram-sha-256"},
            UnsupportedAuth,
            'authentication method requirement "scram-sha-256" failed: server requested OAUTHBEARER authentication',
        ),
        (
            ("OAUTHBEARER",),
            Facts(),
            {"require_auth": "!oauth", "channel_binding": "require"},
            UnsupportedAuth,
            'authentication method requirement "!oauth" failed: server requested OAUTHBEARER authentication',
        ),
        (("OAUTHBEARER",), Facts(), {"require_auth": "md5"}, UnsupportedAuth, "server requested SASL authentication"),
        ((), Facts(), {}, UnsupportedAuth, "none of the server's SASL authentication mechanisms are supported: none"),
        (("scram-sha-256",), Facts(), {}, UnsupportedAuth, "are supported: scram-sha-256"),
        (PLUS, Facts(), {"channel_binding": "disable"}, UnsupportedAuth, "only SCRAM-SHA-256-PLUS"),
        (PLUS, Facts(peer_certificate=ED25519), {}, UnsupportedAuth, "only SCRAM-SHA-256-PLUS"),
        (BOTH, None, {}, ProtocolError, "server offered SCRAM-SHA-256-PLUS authentication over a non-SSL connection"),
        (PLUS, None, {}, ProtocolError, "over a non-SSL connection"),
        (BOTH, None, {"channel_binding": "disable"}, ProtocolError, "over a non-SSL connection"),
    ],
)
def test_without_a_suitable_mechanism_nothing_is_sent(
    offered: tuple[str, ...], facts: Facts | None, overrides: dict[str, Any], kind: type[Error], text: str
) -> None:
    driver = Driver([[b"S" if facts else b"N", sasl(*offered), WELCOME]], facts=facts or Facts())
    with pytest.raises(kind, match=text):
        driver.run(handshake(make(tls_mode="require" if facts else "prefer", **overrides)))
    assert len(driver.sent) == 2  # SSLRequest and StartupMessage


def test_removed_plus_mechanism_is_detected_by_the_server() -> None:
    """The client sends ``y``: it supports channel binding (RFC 5802 §6)."""
    peer = ScramPeer(PASSWORD, offered=PLAIN, bindings=END_POINT)
    with pytest.raises(AuthError, match="channel binding negotiation error"):
        talk(*peer.script).run(handshake(make()))


def test_binding_to_another_certificate_is_refused_by_the_server() -> None:
    peer = ScramPeer(PASSWORD, bindings={"tls-server-end-point": hashlib.sha256(b"the real one").digest()})
    with pytest.raises(AuthError, match="channel binding check failed"):
        talk(*peer.script).run(handshake(make()))


# Client certificates -----------------------------------------------------------------------------------------------

CERTIFIED = {"tls_client_cert_mode": "require", "tls_client_cert": "/ours.pem"}


def test_sslcertmode_require_accepts_a_requested_certificate() -> None:
    driver = talk(WELCOME, facts=Facts(certificate_requested=True))
    driver.run(handshake(make(**CERTIFIED)))
    (started,) = driver.tls
    assert started.parameters.watch_certificate_request
    assert started.parameters.client_certificate is not None
    assert started.parameters.client_certificate.certificate == "/ours.pem"


@pytest.mark.parametrize(
    ("requested", "overrides", "kind", "text"),
    [
        (False, {}, ClientCertificateError, "server did not request an SSL certificate"),
        (
            True,
            {"tls_client_cert": None},
            ClientCertificateError,
            "server accepted connection without a valid SSL certificate",
        ),
        (None, {}, ConfigError, "does not report whether the server requested"),
    ],
)
def test_sslcertmode_require_refuses_a_connection_without_the_certificate(
    requested: bool | None, overrides: dict[str, Any], kind: type[Error], text: str
) -> None:
    """A backend that does not report certificate requests is refused too."""
    with pytest.raises(kind, match=text):
        talk(WELCOME, facts=Facts(certificate_requested=requested)).run(handshake(make(**CERTIFIED | overrides)))


@pytest.mark.parametrize("overrides", [{"host": "/run"}, {"tls_mode": "prefer"}])
def test_sslcertmode_require_refuses_a_connection_without_tls(overrides: dict[str, Any]) -> None:
    driver = Driver([[WELCOME if "host" in overrides else b"N", WELCOME]])
    with pytest.raises(ClientCertificateError, match="did not request"):
        driver.run(handshake(make(**CERTIFIED | overrides)))


def test_sslcertmode_disable_gives_the_backend_no_certificate() -> None:
    driver = talk(WELCOME)
    driver.run(handshake(make(tls_client_cert="/ours.pem", tls_client_cert_mode="disable")))
    assert driver.tls[0].parameters.client_certificate is None
