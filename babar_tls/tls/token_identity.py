"""The client key in a PKCS #11 token, and its certificate: for a backend whose library uses such keys.

The key stays in the token, and the token signs. A token is locked after a few wrong PINs. No wrong PIN may therefore be
tried a second time without a decision of the user.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..config.token_uri import as_token_uri, check_key_uri, is_token_uri
from ..diagnostics.escaping import visible
from ..errors import ConfigError
from .client_identity import load_certificates, requested_password

if TYPE_CHECKING:
    from .parameters import ClientCertificate

_SET_THE_PIN = "Set tls_client_key_password (sslpassword) to the PIN of the token."
_CHECK = "Check that the token is inserted and has the key (`p11tool --login --list-privkeys URI`)."
#: The reasons for which a token cannot be used: the end of the message, and the remedy.
_FAULTS = {
    "no token": (
        "the token was not found",
        "Insert the token, and compare the URI with the output of `p11tool --list-tokens`. p11-kit must be configured "
        "with the PKCS #11 module of the token (`p11-kit list-modules`).",
    ),
    "no key": (
        "the token has no such private key",
        "Compare the URI with the output of `p11tool --login --list-privkeys 'pkcs11:token=NAME'`.",
    ),
    "no certificate": (
        "the token has no such certificate",
        "Compare the URI with the output of `p11tool --list-all-certs 'pkcs11:token=NAME'`, or set tls_client_cert "
        "(sslcert) to a file.",
    ),
    "wrong PIN": (
        "the token refused the PIN",
        f"{_SET_THE_PIN} Another wrong PIN may lock the token. This PIN is not tried again by this process.",
    ),
    "refused PIN": (
        "the token refused this PIN before, and it was not tried again",
        f"{_SET_THE_PIN} If it is correct now, restart the process.",
    ),
    "last PIN": (
        "a wrong PIN would lock the token now, so none was tried",
        "Log in to the token with the correct PIN (`p11tool --login --list-privkeys URI`), which resets the counter.",
    ),
    "locked PIN": ("the token is locked after wrong PINs", "Unlock it with the PIN of its security officer (SO PIN)."),
    "unusable PIN": ("the PIN is too long, or contains a NUL", _SET_THE_PIN),
    "mismatch": (
        "key values mismatch",
        "The key does not belong to the certificate in tls_client_cert (sslcert).",
    ),
}


@dataclass(frozen=True, repr=False)
class TokenIdentity:
    """A client certificate whose key is in a PKCS #11 token.

    Attributes:
        key_uri: The URI of the private key (RFC 7512), in printable ASCII.
        certificate_uri: The URI of the certificate, if it is in the token; otherwise `None`.
        chain: The client certificate and its intermediates, PEM, if they are not in the token; otherwise `None`.
    """

    key_uri: str
    certificate_uri: str | None
    chain: bytes | None
    _source: ClientCertificate = field(repr=False)

    def pin(self) -> bytes:
        """Return the PIN of the token. If it is a callable, call it. The result must not be kept.

        Raises:
            ConfigError: The PIN is missing or empty, or is not str or bytes. The callable returned an awaitable.
            PasswordUnavailable: The callable raised an exception.
        """
        return requested_password(self._source, f'the key "{self.key_uri}" requires the PIN of its token', "PIN")

    def unusable(self, reason: str) -> ConfigError:
        """Return the error if the key or its certificate cannot be used.

        Args:
            reason: ``no token``, ``no key``, ``no certificate``, ``wrong PIN``, ``refused PIN`` (it was wrong before),
                ``last PIN`` (one more would lock the token), ``locked PIN``, ``unusable PIN``, ``mismatch``, or the
                text of the library.
        """
        is_certificate = reason == "no certificate" and self.certificate_uri is not None
        text, remedy = _FAULTS.get(reason) or (visible(reason, limit=200), _CHECK)
        what = f'certificate "{self.certificate_uri}"' if is_certificate else f'private key "{self.key_uri}"'
        return ConfigError(f"could not use {what}: {text}", remedy=remedy)


def load_token_identity(source: ClientCertificate) -> TokenIdentity | None:
    """Return the identity if the key is in a token, otherwise `None`. The token is not used yet.

    Raises:
        ConfigError: The certificate's file is missing, unreadable or damaged. A URI is malformed, or the URI of the
            key does not name its token.
    """
    if not source.is_in_token:
        return None
    key, certificate = source.key, source.certificate
    if not isinstance(key, str) or not is_token_uri(key):
        raise ConfigError(
            "the client certificate is in a PKCS #11 token, but its key is not",
            remedy="Set tls_client_key (sslkey) to the PKCS #11 URI of the key.",
        )
    uri = as_token_uri("tls_client_key", key)
    check_key_uri(uri)
    if isinstance(certificate, str) and is_token_uri(certificate):
        return TokenIdentity(uri, as_token_uri("tls_client_cert", certificate), None, source)
    return TokenIdentity(uri, None, load_certificates(certificate), source)
