"""Checks of what an engine tells of a connection: it is what the server knows of it too, or None."""

from __future__ import annotations

from typing import Any

from babar_tls.config import TlsVerify
from babar_tls.errors import ChannelBindingUnsupported
from babar_tls.testing.backend_checks._check import Trial, check, needs, raised, require
from babar_tls.testing.backend_checks._pair import NAME
from babar_tls.testing.backend_checks._pyopenssl import PyOpenSslServer
from babar_tls.testing.backend_checks._tls13 import Tls13Server
from babar_tls.tls.parameters import ClientCertificate, TrustedRoots

_LABEL = b"EXPORTER-Channel-Binding"  # RFC 9266 §2


@check()
def version(trial: Trial) -> None:
    """The version is spelled TLSv1.2 or TLSv1.3, and is the server's."""
    for wanted in trial.versions:
        with trial.case(wanted):
            found = trial.pair(version=wanted).handshake().client.facts.version
            require(found == wanted, f"version is {found!r}")


@check()
def cipher(trial: Trial) -> None:
    """The cipher suite is named, and another suite has another name."""
    found = set()
    for server in ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"):
        if "TLSv1.2" in trial.versions:
            pair = trial.pair(certificate=trial.world.certificate, version="TLSv1.2", ciphers=server).handshake()
            name = pair.client.facts.cipher
            require(isinstance(name, str) and name, f"cipher is {name!r}")
            require(server.split("-")[2].strip("AES") in name, f"cipher is {name!r} for {server}")
            found.add(name)
    require(len(found) != 1, f"cipher is {found} for two suites")
    name = trial.pair().handshake().client.facts.cipher
    require(isinstance(name, str) and name, f"cipher is {name!r}")


@check()
def group(trial: Trial) -> None:
    """The key-exchange group is named where the capabilities say so, and is None elsewhere."""
    for wanted in trial.versions:
        with trial.case(wanted):
            name = trial.pair(version=wanted).handshake().client.facts.group
            if not trial.capabilities.reports_group:
                require(name is None, f"group is {name!r}, and reports_group is False")
                continue
            known = ("25519", "256", "384", "521", "448", "MLKEM")
            require(any(mark in str(name) for mark in known), f"group is {name!r}")


@check()
def peer_certificate(trial: Trial) -> None:
    """The server's certificate is told to the byte, as `bytes`, for any kind of key."""
    for key in ("rsa2048", "p256", "p384"):
        for wanted in trial.versions:
            with trial.case(f"{key}, {wanted}"):
                certificate = trial.world.authority.issue(NAME, key=key)
                found = trial.pair(certificate=certificate, version=wanted).handshake().client.facts.peer_certificate
                require(isinstance(found, bytes), f"peer_certificate is a {type(found).__name__}")
                require(found == certificate.der, "peer_certificate is not what the server sent")


@check()
def peer_chain(trial: Trial) -> None:
    """The chain is what the server sent, in its order and without anything that was found elsewhere."""
    certificate = trial.world.authority.intermediate().intermediate().issue(NAME)
    sent = certificate.certificate_pem.count(b"BEGIN CERTIFICATE")
    for wanted in trial.versions:
        with trial.case(wanted):
            client = trial.pair(certificate=certificate, version=wanted).handshake().client
            chain = client.facts.peer_chain
            require(isinstance(chain, tuple), f"peer_chain is a {type(chain).__name__}")
            require(
                chain and chain[0] == client.facts.peer_certificate, "peer_chain does not begin with peer_certificate"
            )
            length = sent if trial.capabilities.reports_chain else 1
            require(len(chain) == length, f"peer_chain has {len(chain)} certificates, not {length}")
            if trial.capabilities.reports_chain:
                require(_pem(chain) == certificate.certificate_pem, "peer_chain is not in the order of the server")


def _pem(chain: tuple[bytes, ...]) -> bytes:
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415

    return b"".join(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM) for der in chain)


@check()
def exporter(trial: Trial) -> None:
    """Exported keying material is the server's, for any label and length (RFC 8446 §7.5, RFC 5705)."""
    needs("tls-exporter" in trial.capabilities.channel_bindings, "the engine's capabilities do not have tls-exporter")
    servers = 0
    for wanted in trial.versions:
        with trial.case(wanted):
            stream = trial.wrap(NAME, trial.parameters(alpn=()))
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
                    found = stream.export_keying_material(label, length)
                    require(found == server.export(label, length), f"{length} bytes for {label!r} are not the server's")
    needs(servers or trial.problems, "the server for this check needs pyOpenSSL: pip install pyOpenSSL")


def _has_pyopenssl() -> bool:
    from importlib.util import find_spec  # noqa: PLC0415

    return find_spec("OpenSSL") is not None


@check()
def no_exporter(trial: Trial) -> None:
    """An engine without an exporter raises ChannelBindingUnsupported, and makes nothing up."""
    needs("tls-exporter" not in trial.capabilities.channel_bindings, "the engine has an exporter")
    stream = trial.pair().handshake().client
    raised(ChannelBindingUnsupported, "export_keying_material()", stream.export_keying_material, _LABEL, 32)


@check()
def first_finished_message(trial: Trial) -> None:
    """On TLS 1.2 the first Finished message is the server's tls-unique (RFC 5929 §3); who has none says so."""
    needs("TLSv1.2" in trial.versions, "tls-unique is not defined for TLS 1.3")
    pair = trial.pair(version="TLSv1.2").handshake()
    if "tls-unique" not in trial.capabilities.channel_bindings:
        raised(ChannelBindingUnsupported, "first_finished_message()", pair.client.first_finished_message)
        return
    found = pair.client.first_finished_message()
    require(found == pair.server.get_channel_binding("tls-unique"), f"{found!r} is not the server's")


@check()
def certificate_requested(trial: Trial) -> None:
    """Whether the server asked for a certificate is told to who wants to know, where it can be told; else None."""
    watching = trial.parameters(watch_certificate_request=True, **_identity(trial))
    for wanted in trial.versions:
        for asks in (True, False):
            with trial.case(f"{wanted}, {'asked' if asks else 'not asked'}"):
                ca: dict[str, Any] = {"client_ca_pem": trial.world.clients.root_pem} if asks else {}
                pair = trial.pair(version=wanted, parameters=watching, certificate=trial.world.certificate, **ca)
                try:
                    found = pair.handshake().client.facts.certificate_requested
                except Exception:
                    if trial.capabilities.client_keys or not asks:
                        raise
                    continue  # an engine without client certificates is refused by a server that wants one
                expected = asks if trial.capabilities.reports_certificate_request else None
                require(found is expected, f"certificate_requested is {found!r}, not {expected!r}")
    found = trial.pair().handshake().client.facts.certificate_requested
    require(found is None, f"certificate_requested is {found!r}, and nobody wanted to know")


def _identity(trial: Trial) -> dict[str, ClientCertificate]:
    if not trial.capabilities.client_keys:
        return {}
    client = trial.world.client
    return {"client_certificate": ClientCertificate(certificate=client.certificate_pem, key=client.private_key_pem)}


@check()
def trusted_roots(trial: Trial) -> None:
    """The roots that were verified with are told by their files, or are None; they are None where none were."""
    stream = trial.pair().handshake().client
    roots = stream.trusted_roots
    if roots is not None:
        require(isinstance(roots, TrustedRoots), f"trusted_roots is a {type(roots).__name__}")
        require(roots.sources == (trial.world.root_path,), f"sources are {roots.sources}")
        require(roots.anchors in (1, None), f"there are {roots.anchors!r} anchors, for a file of one")
    stream = trial.pair(parameters=trial.parameters(verify=TlsVerify.NONE)).handshake().client
    require(stream.trusted_roots is None, f"trusted_roots is {stream.trusted_roots!r}, and nothing was verified")


@check()
def facts_remain(trial: Trial) -> None:
    """Facts are the same when they are asked again, and after the connection has ended."""
    pair = trial.pair().handshake()
    stream = pair.client

    def told() -> tuple[object, ...]:
        return (
            stream.facts.version,
            stream.facts.cipher,
            stream.facts.alpn,
            stream.facts.peer_certificate,
            stream.facts.peer_chain,
            stream.facts.group,
        )

    before = told()
    pair.say(b"data")
    pair.read()
    require(told() == before, "they change with data")
    stream.close_notify()
    stream.receive_eof()
    require(told() == before, "they change with the end")
