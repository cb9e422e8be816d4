"""Compute channel binding data, which identifies one TLS connection to both ends (RFC 5056).

============================  ==================================================  ===========
type                          data                                                PostgreSQL
============================  ==================================================  ===========
``tls-server-end-point``      hash of the server's certificate (RFC 5929 §4)      accepts it
``tls-exporter``              exported keying material (RFC 9266)                 does not
``tls-unique``                first Finished message (RFC 5929 §3), TLS 1.2 only  does not
============================  ==================================================  ===========

The result is bytes, or `ChannelBindingUnsupported` with the reason. Without TLS this module is not called. A caller can
therefore always distinguish a failure from a connection without TLS.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from .._native import functions
from ..errors import ChannelBindingUnsupported
from ..x509.der import DerError, elements, only_element
from ..x509.signature_algorithm import algorithm_identifier, signature_algorithm

if TYPE_CHECKING:
    from ..config.enums import ChannelBindingType
    from ..tls.contract import TlsFacts

DEFAULT_TYPE: ChannelBindingType = "tls-server-end-point"

_RSASSA_PSS = "1.2.840.113549.1.1.10"
_SEQUENCE, _HASH_ALGORITHM = 0x30, 0xA0
_PSS_FIELDS = range(0xA0, 0xA4)  # hashAlgorithm, maskGenAlgorithm, saltLength, trailerField

_SHA2 = ("sha224", "sha256", "sha384", "sha512")
_SHA3 = ("sha3_224", "sha3_256", "sha3_384", "sha3_512")


def _numbered(arc: str, first: int, *names: str) -> dict[str, str]:
    """Map consecutive OIDs below `arc` to the names. The last number of the first OID is `first`."""
    return {f"{arc}.{number}": name for number, name in enumerate(names, first)}


#: Hash functions by OID, with hashlib's names.
_HASHES = {
    "1.2.840.113549.2.5": "md5",
    "1.3.14.3.2.26": "sha1",
    **_numbered("2.16.840.1.101.3.4.2", 1, "sha256", "sha384", "sha512", "sha224", "sha512_224", "sha512_256", *_SHA3),
}

#: The hash functions of signature algorithms, by OID.
_SIGNATURES = {
    "1.2.840.113549.1.1.4": "md5",  # RSA, PKCS #1 v1.5 (RFC 8017 §A.2.4)
    "1.2.840.113549.1.1.5": "sha1",
    **_numbered("1.2.840.113549.1.1", 11, "sha256", "sha384", "sha512", "sha224", "sha512_224", "sha512_256"),
    "1.2.840.10045.4.1": "sha1",  # ECDSA (RFC 3279 §2.2.3, RFC 5758 §3.2)
    **_numbered("1.2.840.10045.4.3", 1, *_SHA2),
    "1.2.840.10040.4.3": "sha1",  # DSA (RFC 3279 §2.2.2, RFC 5758 §3.1)
    **_numbered("2.16.840.1.101.3.4.3", 1, *_SHA2, *_SHA3),
    **_numbered("2.16.840.1.101.3.4.3", 9, *_SHA3),  # ECDSA with SHA-3
    **_numbered("2.16.840.1.101.3.4.3", 13, *_SHA3),  # RSA with SHA-3
}

#: Signature algorithms for which OpenSSL's X509_get_signature_info (3.0 and 3.5) returns no hash. PostgreSQL calls it
#: for its own certificate, and then refuses clients that use channel binding. OpenSSL 3.5 supports ECDSA with SHA-3.
_UNKNOWN_TO_OPENSSL = {
    "1.2.840.113549.1.1.15": "RSA and SHA-512/224",
    "1.2.840.113549.1.1.16": "RSA and SHA-512/256",
    "2.16.840.1.101.3.4.3.3": "DSA and SHA-384",
    "2.16.840.1.101.3.4.3.4": "DSA and SHA-512",
    **_numbered("2.16.840.1.101.3.4.3", 5, *(f"DSA and SHA-3 ({name})" for name in _SHA3)),
}
_KNOWN_TO_OPENSSL = ("sha224", "sha256")  # with every kind of key

#: The names of signature algorithms without a separate hash function, for the error message.
_WITHOUT_HASH = {
    "1.3.101.112": "Ed25519",
    "1.3.101.113": "Ed448",
    **_numbered("2.16.840.1.101.3.4.3", 17, "ML-DSA-44", "ML-DSA-65", "ML-DSA-87"),
}


class Binding(NamedTuple):
    """Channel binding data and, for ``tls-server-end-point``, hashlib's name of the hash function."""

    data: bytes
    hash_name: str | None = None


def channel_binding_data(binding_type: str, facts: TlsFacts) -> Binding:
    """Return the binding data of an established connection.

    Raises:
        ChannelBindingUnsupported: This connection does not support this binding; the message gives the reason.
    """
    if binding_type == "tls-server-end-point":
        if facts.possession_proven is not True:
            raise ChannelBindingUnsupported(
                "channel binding requires proof that the server has the private key of its certificate. This TLS "
                "backend did not verify it",
                remedy="Verify the server (sslmode=verify-full), or use another TLS backend.",
            )
        binding = _end_point(facts.peer_certificate)
        has_known_hash = binding.hash_name in _KNOWN_TO_OPENSSL
        if not has_known_hash and (algorithm := _unknown_to_openssl(facts.peer_certificate)) is not None:
            raise ChannelBindingUnsupported(
                f"the server's certificate is signed with {algorithm}, whose hash function PostgreSQL cannot determine",
                remedy="Use a certificate that is signed with RSA or ECDSA and SHA-256, SHA-384 or SHA-512.",
            )
        return binding
    if binding_type == "tls-exporter":
        # With TLS 1.2 the binding is safe only with the extended master secret, whose use no backend reports.
        if facts.version != "TLSv1.3":
            raise ChannelBindingUnsupported(f"tls-exporter requires TLS 1.3, and {facts.version} was negotiated")
        return Binding(_from_library(binding_type, facts))
    if binding_type == "tls-unique":
        if facts.version != "TLSv1.2":  # RFC 8446 §C.5: undefined for 1.3, although some backends return bytes
            raise ChannelBindingUnsupported(f"tls-unique is not defined for {facts.version}, only for TLS 1.2")
        return Binding(_from_library(binding_type, facts))
    raise ChannelBindingUnsupported(f"unknown channel binding type {binding_type!r}")


def _from_library(binding_type: str, facts: TlsFacts) -> bytes:
    if isinstance(facts.binding_data, bytes):
        return facts.binding_data
    raise facts.binding_data or ChannelBindingUnsupported(f"the TLS backend did not compute {binding_type}")


@lru_cache(maxsize=16)
def _unknown_to_openssl(der: bytes) -> str | None:
    """Return the certificate's signature algorithm if OpenSSL does not determine its hash; memoized for reconnects."""
    return _UNKNOWN_TO_OPENSSL.get(signature_algorithm(der).oid)


def tls_server_end_point(der: bytes) -> bytes:
    """Return the binding data for a certificate. `crypto.tls_server_end_point` describes it."""
    return _end_point(der).data


def _end_point(der: bytes) -> Binding:
    name: str | None = None
    if hasattr(functions, "end_point_hash"):  # the compiled helper implements the same rule
        name, digest = functions.end_point_hash(der)
        if digest is not None:
            return Binding(digest, name)
    if name is None or name not in hashlib.algorithms_available:
        name = end_point_hash_name(der)  # raises the error if there is none
    return Binding(hashlib.new(name, der).digest(), name)


def end_point_hash_name(der: bytes) -> str:
    """Return hashlib's name of the hash function that `tls_server_end_point` uses.

    Raises:
        ChannelBindingUnsupported: The signature algorithm has no single hash function, or `der` is not a certificate.
    """
    try:
        oid, parameters = signature_algorithm(der)
        name = _pss_hash(parameters) if oid == _RSASSA_PSS else _SIGNATURES.get(oid)
    except DerError as exc:
        raise ChannelBindingUnsupported(f"the server's certificate cannot be read: {exc}") from exc
    if name is None:
        algorithm = _WITHOUT_HASH.get(oid, oid)
        raise ChannelBindingUnsupported(
            f"the server's certificate is signed with {algorithm}, which has no hash function for tls-server-end-point",
            remedy="Use a certificate that is signed with RSA or ECDSA.",
        )
    # RFC 5929 §4.1: SHA-256 replaces MD5 and SHA-1; other hash functions are used unchanged.
    name = "sha256" if name in ("md5", "sha1") else name
    if name not in hashlib.algorithms_available:
        raise ChannelBindingUnsupported(
            f"the server's certificate is signed with {name}, which is not available in this Python"
        )
    return name


def _pss_hash(parameters: bytes | None) -> str | None:
    """Return the hashAlgorithm of RSASSA-PSS-params (RFC 4055 §3.1); the default is SHA-1."""
    if parameters is None:
        return None  # RFC 4055 §3.1: the parameters of a signature are mandatory
    params = only_element(parameters, strict=True)
    if params.tag != _SEQUENCE:
        raise DerError("malformed RSASSA-PSS-params")
    fields = list(elements(params.content, strict=True))
    tags = [field.tag for field in fields]
    if any(tag not in _PSS_FIELDS for tag in tags) or sorted(set(tags)) != tags:
        raise DerError("malformed RSASSA-PSS-params")
    if not tags or tags[0] != _HASH_ALGORITHM:
        return "sha1"
    identifier = only_element(fields[0].content, strict=True)
    if identifier.tag != _SEQUENCE:
        raise DerError("malformed AlgorithmIdentifier")
    return _HASHES.get(algorithm_identifier(identifier.content).oid)
