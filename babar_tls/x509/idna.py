"""Host names and addresses: their limits, and the conversion of labels in other scripts to A-labels.

One function converts names, so that the same name is looked up, sent as SNI and verified.

The standard library implements IDNA 2003: its codec ``idna``, which `socket` and `ssl` apply to every `str`, converts
``faß.de`` to ``fass.de``, a domain that may have another owner. Registries and browsers use IDNA 2008, which converts
it to ``xn--fa-hia.de``.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from functools import lru_cache

from ..diagnostics.escaping import visible
from ..errors import ConfigError

_MAX_NAME, _MAX_LABEL = 253, 63  # RFC 1035 §2.3.4, without the dot at the end
_MAX_ADDRESS, _MAX_ZONE = 45, 64
_SHOWN = 80
_DOTS = re.compile("[.\u3002\uff0e\uff61]")  # RFC 3490 §3.1, UTS #46 §2.3
#: Characters that IDNA 2003 replaces or removes and IDNA 2008 does not (UTS #46 §7).
_DEVIATIONS = frozenset("\u00df\u03c2\u200c\u200d")
_BAD_LENGTH = "the name or one of its labels is empty or too long"
_REMEDY = "Use the A-label (xn--…) of this name."


def ascii_name(host: str) -> str:
    """Return the name in the form of DNS, SNI and certificates: labels in other scripts become A-labels.

    The package ``idna`` converts the labels by IDNA 2008 (RFC 5891, after the mapping of UTS #46). If it is not
    installed, a name is converted only if IDNA 2003 has the same result.

    Raises:
        ConfigError: The name is not a valid host name.
    """
    if len(host) > _MAX_NAME + 1:
        raise _invalid(host, _BAD_LENGTH)
    if host.isascii():
        return _checked(host, host)
    return _checked(".".join(_ascii_label(label, host) for label in _DOTS.split(host)), host)


@lru_cache(maxsize=64)
def _checked(name: str, host: str) -> str:
    labels = name.removesuffix(".").split(".")
    if len(name.removesuffix(".")) > _MAX_NAME or not all(0 < len(label) <= _MAX_LABEL for label in labels):
        raise _invalid(host, _BAD_LENGTH)
    if "\0" in name:
        raise _invalid(host, "it contains a NUL character")
    return name


@lru_cache(maxsize=64)
def as_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return `host` as an address, or None if it is a name.

    Raises:
        ConfigError: The zone of the address (RFC 4007 §11) is not valid.
    """
    text, percent, zone = host[: _MAX_ADDRESS + 1 + _MAX_ZONE + 1].partition("%")
    if len(text) > _MAX_ADDRESS:
        return None
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if not percent:
        return address
    if address.version == 4:
        return None
    is_number = zone.isascii() and zone.isdigit()
    if not 0 < len(zone) <= _MAX_ZONE or "%" in zone or not zone.isprintable() or (is_number and int(zone) >= 1 << 32):
        raise _invalid(host, "the zone is not the name or number of a network interface")
    return ipaddress.IPv6Address(f"{text}%{zone}")


def check_host(name: str, host: str) -> None:
    """Check the length and the characters of a host name, and the zone of an address.

    Args:
        name: The field of the configuration, for the message.
        host: Its value.

    Raises:
        ConfigError: The value is neither an address nor a valid host name.
    """
    try:
        if as_address(host) is not None:
            return
        if len(host) > _MAX_NAME + 1:
            raise _invalid(host, _BAD_LENGTH)
        if "\0" in host or any("\ud800" <= char <= "\udfff" for char in host):
            raise _invalid(host, "it contains a NUL character or a lone surrogate")
    except ConfigError as error:
        raise ConfigError(f"{name}: {error.message}", remedy=error.remedy or f"Correct {name}.") from None


def shown_host(host: str) -> str:
    """Return the name escaped and shortened for a message."""
    return visible(host, limit=_SHOWN)


def _ascii_label(label: str, host: str) -> str:
    if label.isascii():
        return label
    if len(label) > _MAX_LABEL:
        raise _invalid(host, _BAD_LENGTH)
    try:
        import idna  # noqa: PLC0415 - optional
    except ImportError:
        return _by_idna_2003(label, host)
    try:
        return idna.alabel(idna.uts46_remap(label)).decode()
    except idna.IDNAError as exc:
        raise _invalid(host, f"IDNA 2008 does not allow it ({exc})", _REMEDY) from None


def _by_idna_2003(label: str, host: str) -> str:
    """Convert a label for which both standards have the same result: Unicode 3.2 without the deviations."""
    from encodings import idna  # noqa: PLC0415 - loads large tables

    if any(char in _DEVIATIONS or unicodedata.ucd_3_2_0.category(char) == "Cn" for char in label):
        raise _invalid(
            host,
            "Python's codec for such names (IDNA 2003) would convert it to another name",
            f"Install the package idna (pip install idna), which implements IDNA 2008. Or: {_REMEDY}",
        )
    try:
        converted = idna.ToASCII(label).decode()
    except UnicodeError as exc:
        raise _invalid(host, str(exc), _REMEDY) from None
    if not re.fullmatch("[a-z0-9-]+", converted):  # the mapping may produce a dot or a slash
        raise _invalid(host, "it contains characters that are not allowed in host names", _REMEDY)
    return converted


def _invalid(host: str, why: str, remedy: str | None = None) -> ConfigError:
    return ConfigError(f'"{shown_host(host)}" is not a host name: {why}', remedy=remedy)
