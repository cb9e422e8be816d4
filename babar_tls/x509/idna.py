"""Host names and addresses: their limits, and labels in other scripts as DNS has them (A-labels).

One function decides how a name is spelled, so that the name that is looked up, sent as SNI and verified is the same.
The standard library does not: its codec ``idna``, through which `socket` and `ssl` also pass every `str`, implements
IDNA 2003, for which ``faß.de`` is ``fass.de``, a domain that may belong to another owner. IDNA 2008, which registries
and browsers use, has ``xn--fa-hia.de``.
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
#: What IDNA 2003 maps to other characters, or to nothing, and IDNA 2008 does not (UTS #46 §7).
_DEVIATIONS = frozenset("\u00df\u03c2\u200c\u200d")
_BAD_LENGTH = "a label is empty or too long, or the name is"
_REMEDY = "Write the A-label (xn--…) that DNS has for this name."


def ascii_name(host: str) -> str:
    """Return the name as DNS, SNI and certificates have it: labels in other scripts become A-labels.

    Labels are converted by IDNA 2008 (RFC 5891, after the mapping of UTS #46) with the package ``idna``. Without it
    only names are converted that IDNA 2003 maps alike.

    Raises:
        ConfigError: No host can have such a name.
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
    """Return the address that `host` spells, or None if it is a name.

    Raises:
        ConfigError: It is an address with a zone (RFC 4007 §11) that no interface can have.
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
        raise _invalid(host, "no network interface has this zone")
    return ipaddress.IPv6Address(f"{text}%{zone}")


def check_host(name: str, host: str) -> None:
    """Check what can be checked before a name is needed: its length, its characters, and the zone of an address.

    Args:
        name: The field of the configuration, for the message.
        host: Its value.

    Raises:
        ConfigError: It can be neither an address nor the name of a host.
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
    """Return the name for a message: in one line, and not longer than one."""
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
    """Convert a label that both standards convert alike: characters of Unicode 3.2, except for the deviations."""
    from encodings import idna  # noqa: PLC0415 - it loads tables

    if any(char in _DEVIATIONS or unicodedata.ucd_3_2_0.category(char) == "Cn" for char in label):
        raise _invalid(
            host,
            "Python's own codec for such names (IDNA 2003) would change it to another name",
            f"Install the package idna (pip install idna), which converts it by IDNA 2008. Or: {_REMEDY}",
        )
    try:
        converted = idna.ToASCII(label).decode()
    except UnicodeError as exc:
        raise _invalid(host, str(exc), _REMEDY) from None
    if not re.fullmatch("[a-z0-9-]+", converted):  # the mapping may result in a dot, a slash or the like
        raise _invalid(host, "it contains characters that no host name has", _REMEDY)
    return converted


def _invalid(host: str, why: str, remedy: str | None = None) -> ConfigError:
    return ConfigError(f'"{shown_host(host)}" is not a host name: {why}', remedy=remedy)
