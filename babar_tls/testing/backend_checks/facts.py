"""Checks of the facts that a backend states of a connection: each equals what the server states, or is None."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from babar_tls.errors import ChannelBindingUnsupported
from babar_tls.testing.backend_checks._check import NotApplicable, Trial, check, raised
from babar_tls.testing.backend_checks._pair import NAME
from babar_tls.testing.backend_checks._pyopenssl import PyOpenSslServer
from babar_tls.testing.backend_checks._tls13 import Tls13Server
from babar_tls.tls.parameters import ClientCertificate

if TYPE_CHECKING:
    from babar_tls.testing._signing import KeyKind

_LABEL = b"EXPORTER-Channel-Binding"  # RFC 9266 §2


@check(per_version=True)
def version(trial: Trial, expected: str) -> None:
    """The version is the server's (TLSv1.2 or TLSv1.3)."""
    found = trial.pair(version=expected).handshake().facts.version
    assert found == expected, f"version is {found!r}"


@check()
def cipher(trial: Trial) -> None:
    """The cipher suite is named, and another suite has another name."""
    found = set()
    for server in ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"):
        if "TLSv1.2" in trial.versions:
            name = trial.pair(version="TLSv1.2", ciphers=server).handshake().facts.cipher
            assert name, f"cipher is {name!r}"
            assert server.split("-")[2].strip("AES") in name, f"cipher is {name!r} for {server}"
            found.add(name)
    assert len(found) != 1, f"cipher is {found} for two suites"
    name = trial.pair().handshake().facts.cipher
    assert name, f"cipher is {name!r}"


@check(per_version=True, cases={key: key for key in ("rsa2048", "p256", "p384")})
def peer_certificate(trial: Trial, version: str, key: KeyKind) -> None:
    """The server's certificate is reported byte for byte, for any kind of key."""
    certificate = trial.fixtures.authority.issue(NAME, key=key)
    found = trial.pair(certificate=certificate, version=version).handshake().facts.peer_certificate
    assert isinstance(found, bytes), f"peer_certificate is a {type(found).__name__}"
    assert found == certificate.der, "peer_certificate is not what the server sent"


@check(per_version=True)
def peer_chain(trial: Trial, version: str) -> None:
    """The chain is what the server sent, in its order, or only the server's certificate."""
    certificate = trial.fixtures.authority.intermediate().intermediate().issue(NAME)
    chain = trial.pair(certificate=certificate, version=version).handshake().facts.peer_chain
    assert chain[0] == certificate.der, "the chain does not begin with the server's certificate"
    pem = b"".join(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM) for der in chain)
    is_whole = len(chain) == 1 or pem == certificate.certificate_pem
    assert is_whole, f"the chain of {len(chain)} certificates is not what the server sent"


@check(per_version=True)
def exporter(trial: Trial, version: str) -> None:
    """Exported keying material is the server's, for any label and length (RFC 8446 §7.5, RFC 5705)."""
    if "tls-exporter" not in trial.capabilities.channel_bindings:
        raise NotApplicable("the backend's capabilities.channel_bindings do not have tls-exporter")
    connection = trial.connection(NAME, trial.parameters(alpn=()))
    server = (Tls13Server if version == "TLSv1.3" else PyOpenSslServer)(trial.fixtures.certificate)
    server.connect(connection)
    for label in (_LABEL, b"EXPERIMENTAL"):
        for length in (1, 32, 100):
            found = connection._stream.export_keying_material(label, length)
            assert found == server.export(label, length), f"{length} bytes for {label!r} are not the server's"


@check()
def no_exporter(trial: Trial) -> None:
    """A backend without an exporter raises ChannelBindingUnsupported."""
    if "tls-exporter" in trial.capabilities.channel_bindings:
        raise NotApplicable("the backend has an exporter")
    stream = trial.pair().handshake().client._stream
    raised(ChannelBindingUnsupported, "export_keying_material()", stream.export_keying_material, _LABEL, 32)


@check()
def first_finished_message(trial: Trial) -> None:
    """In TLS 1.2 the first Finished message is the server's tls-unique (RFC 5929 §3), or is unsupported."""
    trial.needs_version("TLSv1.2")
    pair = trial.pair(version="TLSv1.2").handshake()
    stream = pair.client._stream
    if "tls-unique" not in trial.capabilities.channel_bindings:
        raised(ChannelBindingUnsupported, "first_finished_message()", stream.first_finished_message)
        return
    found = stream.first_finished_message()
    assert found == pair.server.get_channel_binding("tls-unique"), f"{found!r} is not the server's"


@check(per_version=True, cases={"requested": True, "not requested": False})
def certificate_requested(trial: Trial, version: str, is_requested: bool) -> None:
    """certificate_requested is True if and only if the server requested a client certificate."""
    trial.needs(watch_certificate_request=True)
    parameters = trial.parameters(watch_certificate_request=True)
    if "PEM" in trial.capabilities.client_keys:
        client = trial.fixtures.client
        identity = ClientCertificate(certificate=client.certificate_pem, key=client.private_key_pem)
        parameters = replace(parameters, client_certificate=identity)
    options: dict[str, Any] = {"client_ca_pem": trial.fixtures.clients.root_pem} if is_requested else {}
    pair = trial.pair(version=version, parameters=parameters, **options)
    try:
        found = pair.handshake().facts.certificate_requested
    except Exception:
        if parameters.client_certificate or not is_requested:
            raise
        return  # a server that requires a certificate refuses a backend that cannot present one
    assert found is is_requested, f"certificate_requested is {found!r}, not {is_requested!r}"
