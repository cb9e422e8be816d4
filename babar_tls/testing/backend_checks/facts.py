"""Checks of what a backend states of a connection: it equals what the server states, or is None."""

from __future__ import annotations

from typing import Any

from babar_tls.errors import ChannelBindingUnsupported
from babar_tls.testing.backend_checks._check import NotApplicable, Trial, check, raised
from babar_tls.testing.backend_checks._pair import NAME
from babar_tls.testing.backend_checks._pyopenssl import PyOpenSslServer
from babar_tls.testing.backend_checks._tls13 import Tls13Server
from babar_tls.tls.parameters import ClientCertificate

_LABEL = b"EXPORTER-Channel-Binding"  # RFC 9266 §2


@check()
def version(trial: Trial) -> None:
    """The version is the server's (TLSv1.2 or TLSv1.3)."""
    for wanted in trial.versions:
        with trial.case(wanted):
            found = trial.pair(version=wanted).handshake().facts.version
            assert found == wanted, f"version is {found!r}"


@check()
def cipher(trial: Trial) -> None:
    """The cipher suite is named, and another suite has another name."""
    found = set()
    for server in ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"):
        if "TLSv1.2" in trial.versions:
            pair = trial.pair(certificate=trial.world.certificate, version="TLSv1.2", ciphers=server).handshake()
            name = pair.facts.cipher
            assert name, f"cipher is {name!r}"
            assert server.split("-")[2].strip("AES") in name, f"cipher is {name!r} for {server}"
            found.add(name)
    assert len(found) != 1, f"cipher is {found} for two suites"
    name = trial.pair().handshake().facts.cipher
    assert name, f"cipher is {name!r}"


@check()
def peer_certificate(trial: Trial) -> None:
    """The server's certificate is reported to the byte, for any kind of key."""
    for key in ("rsa2048", "p256", "p384"):
        for wanted in trial.versions:
            with trial.case(f"{key}, {wanted}"):
                certificate = trial.world.authority.issue(NAME, key=key)
                found = trial.pair(certificate=certificate, version=wanted).handshake().facts.peer_certificate
                assert isinstance(found, bytes), f"peer_certificate is a {type(found).__name__}"
                assert found == certificate.der, "peer_certificate is not what the server sent"


@check()
def peer_chain(trial: Trial) -> None:
    """The chain is what the server sent, in its order, or only the server's certificate."""
    certificate = trial.world.authority.intermediate().intermediate().issue(NAME)
    for wanted in trial.versions:
        with trial.case(wanted):
            chain = trial.pair(certificate=certificate, version=wanted).handshake().facts.peer_chain
            assert chain[0] == certificate.der, "the chain does not begin with the server's certificate"
            whole = len(chain) == 1 or _pem(chain) == certificate.certificate_pem
            assert whole, f"the chain of {len(chain)} certificates is not what the server sent"


def _pem(chain: tuple[bytes, ...]) -> bytes:
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415

    return b"".join(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM) for der in chain)


@check()
def exporter(trial: Trial) -> None:
    """Exported keying material is the server's, for any label and length (RFC 8446 §7.5, RFC 5705)."""
    if "tls-exporter" not in trial.capabilities.channel_bindings:
        raise NotApplicable("the backend's capabilities.channel_bindings do not have tls-exporter")
    servers = 0
    for wanted in trial.versions:
        with trial.case(wanted):
            stream = trial.connection(NAME, trial.parameters(alpn=()))
            server: Tls13Server | PyOpenSslServer
            if wanted == "TLSv1.3":
                server = Tls13Server(trial.world.certificate)
                server.connect(stream)
            else:
                if not _has_pyopenssl():
                    continue
                server = PyOpenSslServer(trial.world.certificate, wanted)
                server.connect(stream)
            servers += 1
            for label in (_LABEL, b"EXPERIMENTAL"):
                for length in (1, 32, 100):
                    found = stream._stream.export_keying_material(label, length)
                    assert found == server.export(label, length), f"{length} bytes for {label!r} are not the server's"
    if not servers and not trial.failed:
        raise NotApplicable("the server for this check needs pyOpenSSL: pip install pyOpenSSL")


def _has_pyopenssl() -> bool:
    from importlib.util import find_spec  # noqa: PLC0415

    return find_spec("OpenSSL") is not None


@check()
def no_exporter(trial: Trial) -> None:
    """A backend without an exporter raises ChannelBindingUnsupported."""
    if "tls-exporter" in trial.capabilities.channel_bindings:
        raise NotApplicable("the backend has an exporter")
    stream = trial.pair().handshake().client
    raised(ChannelBindingUnsupported, "export_keying_material()", stream._stream.export_keying_material, _LABEL, 32)


@check()
def first_finished_message(trial: Trial) -> None:
    """In TLS 1.2 the first Finished message is the server's tls-unique (RFC 5929 §3), or is unsupported."""
    trial.needs_version("TLSv1.2")
    pair = trial.pair(version="TLSv1.2").handshake()
    if "tls-unique" not in trial.capabilities.channel_bindings:
        raised(ChannelBindingUnsupported, "first_finished_message()", pair.client._stream.first_finished_message)
        return
    found = pair.client._stream.first_finished_message()
    assert found == pair.server.get_channel_binding("tls-unique"), f"{found!r} is not the server's"


@check()
def certificate_requested(trial: Trial) -> None:
    """Whether the server requested a client certificate is reported."""
    trial.needs(watch_certificate_request=True)
    watching = trial.parameters(watch_certificate_request=True, **_identity(trial))
    for wanted in trial.versions:
        for asks in (True, False):
            with trial.case(f"{wanted}, {'requested' if asks else 'not requested'}"):
                ca: dict[str, Any] = {"client_ca_pem": trial.world.clients.root_pem} if asks else {}
                pair = trial.pair(version=wanted, parameters=watching, certificate=trial.world.certificate, **ca)
                try:
                    found = pair.handshake().facts.certificate_requested
                except Exception:
                    if trial.capabilities.client_certificates or not asks:
                        raise
                    continue  # a backend without client certificates is refused by a server that requires one
                assert found is asks, f"certificate_requested is {found!r}, not {asks!r}"


def _identity(trial: Trial) -> dict[str, ClientCertificate]:
    if not trial.capabilities.client_certificates:
        return {}
    client = trial.world.client
    return {"client_certificate": ClientCertificate(certificate=client.certificate_pem, key=client.private_key_pem)}
