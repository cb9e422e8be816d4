"""Certificates and keys from PKCS #12 files, which `cryptography` reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable


def read_pkcs12(data: bytes, name: str, password: Callable[[], bytes]) -> tuple[bytes, bytes]:
    """The certificates of a PKCS #12 file, ours first, and its key, both PEM and the key not encrypted.

    Args:
        data: The file.
        name: Its name, for messages.
        password: Returns the password; called if the file needs one.

    Raises:
        ConfigError: It is damaged, holds no certificate, or has another password; or `cryptography` is missing.
    """
    try:
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - optional
        from cryptography.hazmat.primitives.serialization import pkcs12  # noqa: PLC0415
    except ImportError as exc:
        raise ConfigError(
            f'could not read certificate file "{name}": PKCS #12 needs the package cryptography',
            remedy="pip install 'babar-tls[openssl]', or convert the file: openssl pkcs12 -nodes",
        ) from exc

    def load(secret: bytes | None) -> pkcs12.PKCS12KeyAndCertificates | None:
        try:
            return pkcs12.load_pkcs12(data, secret)
        except ValueError:
            return None
        except Warning as exc:  # of cryptography, where the program turns warnings into errors
            raise ConfigError(f'could not read certificate file "{name}": {exc}') from exc

    # Without a password and with an empty one are not the same, and both are in use.
    found = load(None) or load(b"") or load(password())
    if found is None:
        raise ConfigError(f'could not read certificate file "{name}": the password is wrong, or the file is damaged')
    if found.cert is None:
        raise ConfigError(f'could not read certificate file "{name}": no certificate found')
    pem = serialization.Encoding.PEM
    chain = [found.cert.certificate, *(extra.certificate for extra in found.additional_certs)]
    key = b""
    if found.key is not None:
        key = found.key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return b"".join(certificate.public_bytes(pem) for certificate in chain), key
