"""GnuTLS as a backend of babar-tls: an example of an adapter for a library with a verification callback.

This module contains the adapter. `_library` contains the functions of GnuTLS, and `_pkcs11` those for keys in tokens.
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
from ._pkcs11 import TokenError, TokenKey, is_supported

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from babar_tls.backends import CheckLeaf, TlsMaterial, TlsParameters, TokenIdentity
    from babar_tls.errors import Error

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
            client_keys=("PEM", "PKCS #11") if is_supported else ("PEM",),
            reports_certificate_request=True,
            unverified_proven=True,
        )

    def create_context(self, parameters: TlsParameters, material: TlsMaterial) -> _Context:
        """Load the trust anchors and the client certificate; see `TlsBackend.create_context`."""
        anchors = [anchor.der for anchor in material.trust_anchors("GnuTLS")] if parameters.is_verified else []
        token = material.token_identity
        if token is not None:
            return _TokenContext(parameters, anchors, token)
        context = _Context(parameters, anchors)
        identity = material.identity
        if identity is not None:
            try:
                context.credentials.use_key(identity.chain, identity.key, identity.password)
            except gnutls.GnuTlsError as exc:
                raise identity.unusable("mismatch" if exc.code == gnutls.KEY_MISMATCH else str(exc)) from exc
        return context

    def create_stream(self, context: _Context, sni: str | None, check_leaf: CheckLeaf) -> TlsStream:
        """Begin a client connection; see `TlsBackend.create_stream`."""
        return _Stream(context.renewed(), sni, check_leaf)


class _Context:
    """What connections share."""

    def __init__(self, parameters: TlsParameters, anchors: list[bytes]) -> None:
        self.parameters, self.anchors = parameters, anchors
        self.credentials = gnutls.Credentials()
        for anchor in anchors:
            self.credentials.trust(anchor)

    def renewed(self) -> _Context:
        """Return the context for the next connection."""
        return self

    def failure(self, code: int) -> Error | None:
        """Return the error if a connection failed because of the client key."""
        return None


class _TokenContext(_Context):
    """What connections with a key in a token share. After a failure of the token, the next connection logs in again."""

    def __init__(self, parameters: TlsParameters, anchors: list[bytes], identity: TokenIdentity) -> None:
        super().__init__(parameters, anchors)
        self._identity = identity
        self._renewed: _TokenContext | None = None
        certificate = identity.certificate_uri or identity.chain or b""
        try:
            self._key = TokenKey(self.credentials, identity.key_uri, certificate, identity.pin)
        except TokenError as exc:
            raise identity.unusable(exc.reason) from None

    def renewed(self) -> _Context:
        present = self._renewed or self
        if not present._key.is_usable:
            present = self._renewed = _TokenContext(self.parameters, self.anchors, self._identity)
        return present

    def failure(self, code: int) -> Error | None:
        fault = self._key.failure(code)
        return None if fault is None else self._identity.unusable(fault.reason)


def _is_accepted(is_verified: bool, check_leaf: CheckLeaf, session: gnutls.Session) -> bool:
    chain = session.peers()
    return bool(chain) and (not is_verified or session.verify() == 0) and check_leaf(chain[0]) is None


class _Stream(TlsStream):
    library_errors = (gnutls.GnuTlsError,)

    def __init__(self, context: _Context, sni: str | None, check_leaf: CheckLeaf) -> None:
        self._context, parameters = context, context.parameters
        oldest, newest = parameters.min_version.value, (parameters.max_version or TlsVersion.TLSV1_3).value
        versions = [f"+{word}" for version, word in _VERSIONS.items() if oldest <= version.value <= newest]
        accept = partial(_is_accepted, parameters.is_verified, check_leaf)  # refers to no stream, which refers to it
        priorities = ":".join(["NORMAL", "-VERS-ALL", *versions])
        self._session = gnutls.Session(context.credentials, priorities, accept)
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
        return self._context.failure(error.code) or TlsError(f"SSL error: {error}")

    def export_keying_material(self, label: bytes, length: int) -> bytes:
        return self._session.export(label, length)
