"""What connections of rustls are made from: a builder with everything set, and the roots behind it.

rtls's own face is that of Python's `ssl`, and hides what is needed here (goodbyes, alerts after the handshake); what is
below it is used instead.
"""

from __future__ import annotations

import time
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

from rtls import SSLError
from rtls._rustls import RustlsConfigBuilder

from ..errors import ConfigError
from ..modes import TlsVerify, TlsVersion
from ..tls.client_identity import load_identity
from ..tls.crl import wants_revocation_lists
from ..tls.default_roots import refuse_os_roots
from ..tls.root_files import read_roots
from ..tls.suites import choice, openssl_name, unknown_cipher, unknown_group
from ..tls.trust import Trust, load_roots
from .rustls_errors import rejected_identity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..tls.client_identity import Identity
    from ..tls.contract import TlsParameters
    from ..x509.signing import Certificate

__all__ = ["NO_NAME", "VERSIONS", "Context", "build_context", "cipher_name"]

VERSIONS = {TlsVersion.TLSV1_2: 0x0303, TlsVersion.TLSV1_3: 0x0304}

#: An address, of which rustls sends no SNI and of which nobody is asked: it must be told of something.
NO_NAME = "0.0.0.0"  # noqa: S104 - nothing listens

_CERT_NONE, _CERT_REQUIRED = 0, 2
#: Every suite that rustls has, by its names; one that it does not know it would pass over without a word.
_SUITES = (
    "TLS13_AES_256_GCM_SHA384",
    "TLS13_AES_128_GCM_SHA256",
    "TLS13_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
)


class _Built(NamedTuple):
    """A builder, the roots that are in it, and until when they are the right ones."""

    builder: RustlsConfigBuilder
    anchors: list[Certificate]
    until: float


class Context:
    """Everything that connections of the same parameters have in common."""

    def __init__(self, parameters: TlsParameters) -> None:
        self._parameters = parameters
        self.roots = read_roots(parameters)
        self._trust = Trust(load_roots(self.roots))
        source = parameters.client_certificate
        self._identity = _decrypted(load_identity(source)) if source is not None else None
        self._built = self._build(time.time())

    def current(self, now: float) -> tuple[RustlsConfigBuilder, list[Certificate]]:
        """The builder and its roots, made anew when one of these has come of age or has expired."""
        built = self._built
        if now > built.until:
            built = self._built = self._build(now)
        return built.builder, built.anchors

    def _build(self, now: float) -> _Built:
        parameters, builder = self._parameters, RustlsConfigBuilder()
        wanted = choice(parameters)
        builder.set_min_version(VERSIONS[wanted.min_version])
        builder.set_max_version(VERSIONS[wanted.max_version or TlsVersion.TLSV1_3])
        if parameters.ciphers:
            builder.set_cipher_suites(_suites(parameters, (*wanted.tls13, *wanted.tls12)))
        builder.set_alpn([name.encode() for name in parameters.alpn])
        builder.set_verify_mode(_CERT_NONE if parameters.verify is TlsVerify.NONE else _CERT_REQUIRED)
        anchors = [one for one in self._trust.anchors(now) if _add_root(builder, one.der)]
        # Names are compared by `names`, for their messages and for libpq's rules. Without any root rtls can only be had
        # with the check of its own, and no chain gets as far as that.
        builder.set_check_hostname(not anchors)
        if self._identity is not None:
            _set_identity(builder, self._identity)
        return _Built(builder, anchors, self._trust.until(now))


def build_context(parameters: TlsParameters) -> Context:
    """A context that does what `parameters` ask for.

    Raises:
        ConfigError: A file is missing or unusable, or rustls cannot do it.
    """
    if parameters.groups:
        raise unknown_group(", ".join(parameters.groups), "the rustls backend")
    if wants_revocation_lists(parameters):
        raise ConfigError(
            "rustls cannot be given revocation lists (rtls takes none)",
            remedy="Use tls_backend='stdlib' or 'openssl', or leave out tls_crl_path and tls_crl_dir.",
        )
    refuse_os_roots(parameters)
    return Context(parameters)


def cipher_name(suite: str) -> str:
    """OpenSSL's name of a suite, which PostgreSQL shows too."""
    return "TLS_" + suite.removeprefix("TLS13_") if suite.startswith("TLS13_") else openssl_name(suite)


def _suites(parameters: TlsParameters, names: Sequence[str]) -> list[str]:
    known = {cipher_name(suite): suite for suite in _SUITES}
    missing = [name for name in names if name not in known]
    if missing:
        raise unknown_cipher(parameters, missing, "rustls")
    tls13 = [name for name in known if name.startswith("TLS_")]
    if 0 < len(set(tls13) & set(names)) < len(tls13):  # rtls adds the others, whatever it is told
        raise ConfigError(
            "rustls (by way of rtls) cannot choose among the cipher suites of TLS 1.3",
            remedy=f"Name all three ({', '.join(tls13)}) or none (tls_max_version=TLSv1.2), or use "
            "tls_backend='openssl'.",
        )
    return [known[name] for name in names]


def _add_root(builder: RustlsConfigBuilder, der: bytes) -> bool:
    """Add a root; one that webpki cannot read is none."""
    try:
        builder.add_root_cert_from_der(der)
    except ValueError:
        return False
    return True


def _decrypted(identity: Identity) -> Identity:
    """Return the identity with its key decrypted by `cryptography`, which knows more kinds of encryption than rtls."""
    if identity.password is None or find_spec("cryptography") is None:
        return identity
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - optional
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

    try:
        key = serialization.load_pem_private_key(identity.key, identity.password)
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise identity.unusable("") from exc
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return replace(identity, key=key.private_bytes(pem, form, serialization.NoEncryption()), password=None)


def _set_identity(builder: RustlsConfigBuilder, identity: Identity) -> None:
    try:
        builder.set_client_cert_chain_pem(identity.chain, identity.key, identity.password)
        builder.build_client_connection(NO_NAME)  # it is here that the key is looked at
    except SSLError as exc:
        raise rejected_identity(str(exc.args[0] if exc.args else exc), identity) from exc
    except ValueError as exc:
        raise identity.unusable("") from exc
