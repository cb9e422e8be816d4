"""Read certificates and keys from PKCS #12 files, with `cryptography`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable


def read_pkcs12(data: bytes, name: str, password: Callable[[], bytes]) -> tuple[bytes, bytes]:
    """Return the certificates of a PKCS #12 file, the client's first, and its decrypted key, both as PEM.

    Args:
        data: The content of the file.
        name: The name of the file, for messages.
        password: A function that returns the password. It is called only if the file requires a password.

    Raises:
        ConfigError: The file is damaged or does not contain a certificate, the password is wrong, or `cryptography` is
            not installed.
    """
    try:
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - optional
        from cryptography.hazmat.primitives.serialization import pkcs12  # noqa: PLC0415 - an optional package
    except ImportError as exc:
        raise ConfigError(
            f'could not read certificate file "{name}": PKCS #12 requires the package cryptography',
            remedy="pip install 'babar-tls[openssl]', or convert the file: openssl pkcs12 -nodes",
        ) from exc

    def load(secret: bytes | None) -> pkcs12.PKCS12KeyAndCertificates | None:
        try:
            return pkcs12.load_pkcs12(data, secret)
        except ValueError:
            return None
        except Warning as exc:  # from cryptography, if the program turns warnings into errors
            raise ConfigError(f'could not read certificate file "{name}": {exc}') from exc

    # No password and an empty password are different, and both are in use.
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
