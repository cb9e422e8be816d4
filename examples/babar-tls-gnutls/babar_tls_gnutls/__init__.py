"""GnuTLS as a backend of babar-tls: an example of an adapter for a library with a verification callback.

This module contains the adapter. `_library` contains the functions of GnuTLS.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from babar_tls.backends import (
    Capabilities,
    StreamFacts,
    TlsBackend,
    TlsStream,
    TlsVersion,
    alert_error,
    alert_name,
    chain_error,
    openssl_name,
)
from babar_tls.errors import TlsError

from . import _library as gnutls

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from babar_tls.backends import CheckLeaf, TlsMaterial, TlsParameters
    from babar_tls.errors import Error

    _Context = tuple[gnutls.Credentials, TlsParameters]

__all__ = ["GnuTlsBackend"]

_VERSIONS = {TlsVersion.TLSV1_2: "VERS-TLS1.2", TlsVersion.TLSV1_3: "VERS-TLS1.3"}
#: Bits of gnutls_certificate_status_t. The first that is set is reported: an untrusted chain often has others too.
_FAULTS = {
    10: ("expired", "certificate has expired"),
    9: ("not-yet-valid", "certificate is not yet valid"),
    6: ("untrusted", "unable to get issuer certificate"),
    8: ("weak", "signature algorithm is not secure"),
    18: ("purpose", "unsuitable certificate purpose"),
}


class GnuTlsBackend(TlsBackend):
    """TLS with GnuTLS."""

    name = "gnutls"

    def __init__(self) -> None:
        # What is not named here, babar-tls refuses. GnuTLS reads revocation lists, but accepts a chain where one is
        # missing, so `crls` stays False.
        self.capabilities = Capabilities(
            version=f"GnuTLS {gnutls.text('check_version', None)}",
            tls_versions=tuple(_VERSIONS),
            channel_bindings=("tls-server-end-point", "tls-exporter"),
            common_names=True,
            client_keys=("PEM",),
            reports_certificate_request=True,
            unverified_proven=True,
        )

    def create_context(self, parameters: TlsParameters, material: TlsMaterial) -> _Context:
        """Load the trust anchors and the client certificate; see `TlsBackend.create_context`."""
        credentials = gnutls.Credentials()
        if parameters.is_verified:
            for anchor in material.trust_anchors("GnuTLS"):
                credentials.trust(anchor.der)
        identity = material.identity
        if identity is not None:
            try:
                credentials.use_key(identity.chain, identity.key, identity.password)
            except gnutls.GnuTlsError as exc:
                raise identity.unusable("mismatch" if exc.code == gnutls.KEY_MISMATCH else str(exc)) from exc
        return credentials, parameters

    def create_stream(self, context: _Context, sni: str | None, check_leaf: CheckLeaf) -> TlsStream:
        """Begin a client connection; see `TlsBackend.create_stream`."""
        return _Stream(*context, sni, check_leaf)


def _is_accepted(is_verified: bool, check_leaf: CheckLeaf, session: gnutls.Session) -> bool:
    chain = session.peers()
    return bool(chain) and (not is_verified or session.verify() == 0) and check_leaf(chain[0]) is None


class _Stream(TlsStream):
    library_errors = (gnutls.GnuTlsError,)

    def __init__(
        self, credentials: gnutls.Credentials, parameters: TlsParameters, sni: str | None, check_leaf: CheckLeaf
    ) -> None:
        oldest, newest = parameters.min_version.value, (parameters.max_version or TlsVersion.TLSV1_3).value
        versions = [f"+{word}" for version, word in _VERSIONS.items() if oldest <= version.value <= newest]
        accept = partial(_is_accepted, parameters.is_verified, check_leaf)  # refers to no stream, which refers to it
        priorities = ":".join(["NORMAL", "-VERS-ALL", *versions])
        self._session = gnutls.Session(credentials, priorities, accept)
        self._session.offer(parameters.alpn, sni)

    def do_handshake(self) -> bool:
        return self._session.handshake()

    def receive_data(self, data: Buffer) -> None:
        self._session.incoming += memoryview(data)

    def data_to_send(self) -> bytes:
        data = bytes(self._session.outgoing)
        self._session.outgoing.clear()
        return data

    def read_into(self, buffer: memoryview) -> int | None:
        return self._session.receive(buffer)

    def write(self, data: Buffer) -> None:
        self._session.send(memoryview(data).cast("B"))

    def close_notify(self) -> None:
        self._session.close_notify()

    def peer_chain(self) -> tuple[bytes, ...]:
        return self._session.peers()

    def facts(self) -> StreamFacts:
        version = gnutls.text("protocol_get_name", self._session.call("protocol_get_version"))
        return StreamFacts(
            version=version.replace("TLS", "TLSv"),
            cipher=openssl_name(gnutls.text("ciphersuite_get", self._session.handle)),
            alpn=self._session.alpn(),
            possession_proven=True,  # GnuTLS checks the server's signature, whatever the callback returns
            certificate_requested=self._session.call("certificate_client_get_request_status") == 1,
        )

    def translate(self, error: Any, *, established: bool) -> Error:
        if error.alert is not None:
            return alert_error(alert_name(error.alert), established=established)
        if error.code == gnutls.CERTIFICATE_ERROR:
            faults = (fault for bit, fault in _FAULTS.items() if self._session.status >> bit & 1)
            return chain_error(*next(faults, ("invalid", "the certificate chain is not valid")))
        return TlsError(f"SSL error: {error}")

    def export_keying_material(self, label: bytes, length: int) -> bytes:
        return self._session.export(label, length)
