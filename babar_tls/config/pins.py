"""Pins: fingerprints that identify a server independently of the CA of its certificate.

There are two kinds. ``sha256:<hex>`` is the SHA-256 of the whole certificate (DER), with or without colons between the
bytes; the output of ``openssl x509 -fingerprint -sha256`` is accepted too. ``spki-sha256:<hex or base64>`` is the
SHA-256 of its SubjectPublicKeyInfo, which stays the same if the certificate is renewed with the same key. For the
latter, curl's form ``sha256//<base64>`` is accepted too.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable

from ..errors import ConfigError

_REMEDY = (
    "Write sha256:<64 hexadecimal digits> of the certificate, or spki-sha256:<hexadecimal or base64> of its key, "
    "in tls_pins."
)


def parse_pins(pins: object) -> tuple[str, ...]:
    """Return the pins in lower-case hexadecimal, in the same order.

    Raises:
        ConfigError: One of them is not a pin.
    """
    if isinstance(pins, str | bytes) or not isinstance(pins, Iterable):
        raise ConfigError("tls_pins must be a sequence of strings", remedy=_REMEDY)
    return tuple(_parse(pin) for pin in pins)


def _parse(pin: object) -> str:
    text = pin.strip() if isinstance(pin, str) else ""
    text = re.sub("^sha256 fingerprint *=", "sha256:", text, flags=re.IGNORECASE)
    if text.startswith("sha256//"):
        text = "spki-sha256:" + text.removeprefix("sha256//")
    kind, _, value = text.partition(":")
    digest = _hexadecimal(value)
    if kind == "spki-sha256" and digest is None:
        digest = _base64(value)
    if kind not in ("sha256", "spki-sha256") or digest is None:
        raise ConfigError(f"not a certificate pin: {pin!r}", remedy=_REMEDY)
    return f"{kind}:{digest}"


def _hexadecimal(text: str) -> str | None:
    digits = text.replace(":", "").lower()
    return digits if re.fullmatch("[0-9a-f]{64}", digits) else None


def _base64(text: str) -> str | None:
    try:
        digest = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return None
    return digest.hex() if len(digest) == 32 else None
