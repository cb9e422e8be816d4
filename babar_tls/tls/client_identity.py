"""Load the client certificate and its private key, from files or bytes in any format, for any TLS library.

The result always has the same form: certificates in PEM, the client's first, and one private key in PEM. An encrypted
key is not decrypted here. The TLS library decrypts it with the password. Without a password OpenSSL would prompt on the
terminal; therefore this module determines whether the key is encrypted.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Awaitable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..config.callables import discard
from ..config.files import NotRegularError
from ..config.token_uri import is_token_uri
from ..config.validation import has_surrogates
from ..errors import ConfigError, PasswordUnavailable
from ..x509.certificate import public_key_info
from ..x509.der import DerError, elements, first_element, only_element
from ..x509.pem import PemError, blocks, encode
from .file_stamps import read_file
from .memory_files import file_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .parameters import ClientCertificate


_KEYS = ("PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "DSA PRIVATE KEY")
_CERTIFICATES = ("CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE")
_ENCRYPTED = re.compile(rb"^Proc-Type:[ \t]*4,[ \t]*ENCRYPTED", re.MULTILINE)
_SEQUENCE, _INTEGER, _OCTETS = 0x30, 0x02, 0x04
#: Labels of keys in DER. The key has the tags of the first two elements, and True if other elements follow.
_KEY_LABELS = {
    (_INTEGER, _SEQUENCE, True): "PRIVATE KEY",  # RFC 5958 §2
    (_INTEGER, _INTEGER, True): "RSA PRIVATE KEY",  # RFC 8017 §A.1.2
    (_INTEGER, _OCTETS, True): "EC PRIVATE KEY",  # RFC 5915 §3
    (_INTEGER, _OCTETS, False): "EC PRIVATE KEY",
    (_SEQUENCE, _OCTETS, False): "ENCRYPTED PRIVATE KEY",  # RFC 5958 §3
}
_MAX_FILE = 1 << 22  # bytes
_NAME_THE_KEY = "Set tls_client_key (sslkey) to the file of the private key."
_KEY_MODE_REMEDY = (
    "file must have permissions u=rw (0600) or less if owned by the current user, or permissions u=rw,g=r (0640) or "
    "less if owned by root"
)


@dataclass(frozen=True, repr=False)
class Identity:
    """A client certificate and its key, in the format for a TLS library.

    Attributes:
        chain: The client certificate and its intermediates, PEM.
        key: The private key, one block of PEM.
        password: The password of `key`, `None` if it is not encrypted.
        certificate_name: The file of the certificate, for messages.
        key_name: The file of the key, for messages.
    """

    chain: bytes
    key: bytes
    password: bytes | None
    certificate_name: str
    key_name: str

    @contextmanager
    def files(self) -> Iterator[tuple[str, str]]:
        """Yield the paths of the certificates and of the key, for a library that reads only files."""
        with file_of(self.chain) as chain, file_of(self.key) as key:
            yield chain, key

    def unusable(self, reason: str) -> ConfigError:
        """Return the error if a TLS library cannot load the identity; `reason` is OpenSSL's, as a macro or as text."""
        reason = reason.lower().replace("_", " ")
        if "mismatch" in reason or "no certificate assigned" in reason:
            return ConfigError(
                f'could not load private key file "{self.key_name}": key values mismatch',
                remedy=f'The key does not belong to the first certificate in "{self.certificate_name}".',
            )
        if "too small" in reason or "too weak" in reason:
            return ConfigError(f'could not read certificate file "{self.certificate_name}": {reason}')
        if self.password is not None:
            return _unusable_key(self.key_name, "the password is wrong, or the key is damaged")
        return _unusable_key(self.key_name, "it is damaged, or this backend does not support its type")


def load_identity(source: ClientCertificate) -> Identity:
    """Read and check a client certificate.

    Raises:
        ConfigError: A file is missing, unreadable, damaged or accessible to other users, or a password is missing.
    """
    if source.is_in_token:
        raise ConfigError(
            "keys in PKCS #11 tokens cannot be used as files",
            remedy="Use the backend of the package babar-tls-gnutls, or set tls_client_key (sslkey) to a file.",
        )
    if source.key is None:  # the file also contains the key, and needs the same permissions
        data = _read_key(source.certificate, certificate=True)
    else:
        data = _read_certificate(source.certificate)
    name = place_name(source.certificate)
    if _is_pkcs12(data, name):
        from .pkcs12 import read_pkcs12  # noqa: PLC0415 - requires cryptography

        chain, key = read_pkcs12(data, name, lambda: needed_password(source, name))
        key_name = name
    else:
        chain, key, key_name = _chain(data, name), data, name
    if source.key is not None:
        key, key_name = _read_key(source.key), place_name(source.key)
    pem, encrypted = _pem_key(key, key_name)
    password = needed_password(source, key_name) if encrypted else None
    return Identity(chain, pem, password, name, key_name)


def identity_files(source: ClientCertificate) -> Iterator[str]:
    """Yield the paths of the files that `load_identity` reads."""
    for place in (source.certificate, source.key):
        if isinstance(place, str) and not is_token_uri(place):
            yield place


def load_certificates(place: str | bytes) -> bytes:
    """Read certificates without a key, PEM or DER, for a key that is elsewhere. Return them as PEM.

    Raises:
        ConfigError: The file is missing, unreadable or damaged, or is a PKCS #12 file.
    """
    data, name = _read_certificate(place), place_name(place)
    if _is_pkcs12(data, name):
        raise _unusable_certificate(name, "a PKCS #12 file cannot be combined with a key in a token")
    return _chain(data, name)


def needed_password(source: ClientCertificate, key_name: str) -> bytes:
    """Return the password of an encrypted key. If the password is a callable, call it.

    Raises:
        ConfigError: The password is missing or empty, is not str or bytes, or contains a lone surrogate. The callable
            returned an awaitable.
        PasswordUnavailable: The callable raised an exception.
    """
    return requested_password(source, f'private key file "{key_name}" is encrypted', "password")


def requested_password(source: ClientCertificate, need: str, what: str) -> bytes:
    """Return the password or the PIN of a key; see `needed_password`.

    Args:
        source: The client certificate with the password.
        need: The reason why it is needed, as a sentence, for messages.
        what: ``password`` or ``PIN``, for messages.
    """
    password: object = source.password
    if callable(password):
        try:
            password = password()
        except MemoryError:
            raise
        except Exception as exc:  # its text may contain a secret
            raise PasswordUnavailable(
                f"{need}, and the callable in tls_client_key_password raised {type(exc).__name__}",
                remedy="See the cause of this error (__cause__).",
            ) from exc
        if isinstance(password, Awaitable):
            discard(password)
            raise ConfigError(
                f"{need}, and the callable in tls_client_key_password returned an awaitable, which cannot be awaited "
                "here",
                remedy="Set tls_client_key_password to a callable that returns str or bytes.",
            )
    if isinstance(password, str):
        if has_surrogates(password):
            raise ConfigError(
                "tls_client_key_password contains a lone surrogate",
                remedy="Set tls_client_key_password to the exact bytes, or to a callable that returns them.",
            )
        password = password.encode()
    if not password or not isinstance(password, bytes):
        raise ConfigError(need, remedy=f"Set tls_client_key_password (sslpassword) to the {what}, as str or bytes.")
    return password


def place_name(place: str | bytes) -> str:
    """Return the path of a file, or a word for its content, for messages."""
    return place if isinstance(place, str) else "<bytes>"


def _read_certificate(place: str | bytes) -> bytes:
    if isinstance(place, bytes):
        return place
    try:
        return read_file(place, _MAX_FILE)[0]
    except FileNotFoundError:
        raise _missing_certificate(place) from None
    except (OSError, ValueError) as exc:
        raise _unusable_certificate(place, getattr(exc, "strerror", None) or str(exc)) from exc


def _read_key(place: str | bytes, *, certificate: bool = False) -> bytes:
    if isinstance(place, bytes):
        return place
    try:
        data, status = read_file(place, _MAX_FILE)
    except FileNotFoundError:
        if certificate:
            raise _missing_certificate(place) from None
        raise ConfigError(
            f'certificate present, but not private key file "{place}"',
            remedy="Set tls_client_key (sslkey) to the file of the private key.",
        ) from None
    except NotRegularError:
        raise ConfigError(f'private key file "{place}" is not a regular file') from None
    except (OSError, ValueError) as exc:
        raise _unusable_key(place, getattr(exc, "strerror", None) or str(exc)) from exc
    # A group may read a key that root owns, because distributions share keys between services in this way.
    forbidden = stat.S_IWGRP | stat.S_IXGRP | stat.S_IRWXO if status.st_uid == 0 else stat.S_IRWXG | stat.S_IRWXO
    if os.name != "nt" and status.st_mode & forbidden:
        raise ConfigError(
            f'private key file "{place}" has group or world access; {_KEY_MODE_REMEDY}',
            remedy=f"chmod 600 {place}",
        )
    return data


def _is_pkcs12(data: bytes, name: str) -> bool:
    """Return True for a PFX (RFC 7292 §4), which begins with version 3. A damaged file is recognized by its name."""
    try:
        version, *rest = elements(only_element(data).content)
    except ValueError:  # DerError, or no element at all
        return name.lower().endswith((".p12", ".pfx")) and b"-----BEGIN " not in data
    return (version.tag, version.content) == (_INTEGER, b"\3") and bool(rest) and rest[0].tag == _SEQUENCE


def _chain(data: bytes, name: str) -> bytes:
    """Return the certificates as PEM, without the trust settings of a TRUSTED CERTIFICATE, which do not apply."""
    try:
        if _is_der(data):
            ders = [data]
        else:
            ders = [first_element(block.der()).encoded for block in blocks(data, *_CERTIFICATES)]
        for der in ders:
            public_key_info(der)
    except PemError as exc:
        raise _unusable_certificate(name, str(exc)) from exc
    except DerError as exc:
        raise _unusable_certificate(name, "damaged") from exc
    if not ders:
        raise _unusable_certificate(name, "no certificate found")
    return b"".join(encode("CERTIFICATE", der) for der in ders)


def _is_der(data: bytes) -> bool:
    try:
        return only_element(data).tag == _SEQUENCE
    except DerError:
        return False


def _pem_key(data: bytes, name: str) -> tuple[bytes, bool]:
    """Return the first key (OpenSSL also uses the first) as one block of PEM, and True if it is encrypted."""
    try:
        found = [] if _is_der(data) else list(blocks(data, *_KEYS, "OPENSSH PRIVATE KEY"))
    except PemError as exc:
        raise _unusable_key(name, str(exc)) from exc
    for block in found:
        if block.label.startswith("OPENSSH"):
            raise _unusable_key(name, "it is in the format of OpenSSH", f"ssh-keygen -p -m PKCS8 -f {name}")
        # RFC 1421 §4.6.1.1: OpenSSL's traditional encryption has this header.
        if _ENCRYPTED.search(block.body):
            return block.pem, True
        try:
            der = block.der()
        except PemError as exc:
            raise _unusable_key(name, str(exc)) from exc
        label = block.label
        if label == "PRIVATE KEY" and _is_encrypted(der):
            label = "ENCRYPTED PRIVATE KEY"  # OpenSSL ignores the label, and would prompt for a password
        return encode(label, der), label.startswith("ENCRYPTED")
    try:
        first, second, *rest = elements(only_element(data).content)
    except ValueError:  # DerError, or too few elements
        raise _unusable_key(name, "no private key found", _NAME_THE_KEY) from None
    kind = _KEY_LABELS.get((first.tag, second.tag, bool(rest)))
    if kind is None:
        raise _unusable_key(name, "no private key found", _NAME_THE_KEY)
    return encode(kind, data), kind.startswith("ENCRYPTED")


def _is_encrypted(der: bytes) -> bool:
    """Return True for an EncryptedPrivateKeyInfo (RFC 5958 §3). A private key begins with a version instead."""
    try:
        return first_element(only_element(der).content).tag == _SEQUENCE
    except DerError:
        return False


def _unusable_key(name: str, why: str, remedy: str | None = None) -> ConfigError:
    return ConfigError(f'could not load private key file "{name}": {why}', remedy=remedy)


def _unusable_certificate(name: str, why: str) -> ConfigError:
    return ConfigError(f'could not read certificate file "{name}": {why}')


def _missing_certificate(name: str) -> ConfigError:
    return ConfigError(
        f'certificate file "{name}" does not exist',
        remedy="Provide the file, or remove tls_client_cert (sslcert).",
    )
