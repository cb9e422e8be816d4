"""Compare the names of a certificate with a host name, for every backend.

`name_fault` applies the rules of libpq or of RFC 9525. The rules of libpq are:

* If the certificate has an alternative name of the required kind (dNSName for a name, iPAddress for an address), the
  common name is ignored. Alternative names of other kinds do not have this effect.
* An address may also be the text of a dNSName or of the common name.
* If there are several common names, only the first is compared.
* ``*.`` matches exactly one label, the leftmost. The labels may contain any characters.
* A name that contains a NUL is an error, unless an earlier name matches.

With RFC 9525 only alternative names of the required kind are compared. The other rules are the same. Both sets of rules
are stricter here than in libpq: ``*.com`` is not a pattern, and no pattern matches an address.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from ..diagnostics.escaping import visible
from ..errors import CertificateError, ConfigError
from .der import DerError
from .idna import as_address, ascii_name
from .names import subject_names

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["as_address", "ascii_name", "name_fault", "name_to_send"]

_NEEDS_ALTERNATIVE_NAME = "The server needs a certificate with a subjectAltName (RFC 9525 §6.3)."
_REMEDY = "Connect with a name that is in the certificate, or set tls_server_name to the expected name."
_SHOWN = 8  # names of a certificate in a message
_MAX_SHOWN = 253  # characters of a name in a message


def name_fault(der: bytes, host: str, *, common_name: bool = True) -> CertificateError | None:
    """Return the error if the certificate does not match `host`, or None if it matches.

    Args:
        der: The certificate.
        host: A name or an address.
        common_name: Apply the rules of libpq; if False, those of RFC 9525 §6.3.
    """
    return None if _matches(der, host, common_name) else _fault(der, host, common_name=common_name)


#: A name that ends in a number. Resolvers treat such names as addresses in unusual forms (``0177.0.0.1``, ``127.1``).
_NUMBER = re.compile(rb"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?", re.DOTALL)


@lru_cache(maxsize=32)
def _matches(der: bytes, host: str, common_name: bool) -> bool:
    """Memoize the comparison, because a pool compares the same names at every connect."""
    return _fault(der, host, common_name=common_name) is None


def _fault(der: bytes, host: str, *, common_name: bool) -> CertificateError | None:
    try:
        names = subject_names(der)
    except DerError as exc:
        return CertificateError(f"the names in the server's certificate are malformed: {exc}", reason="invalid")
    address = _packed(host)
    wanted = _spellings(host)
    may_match_pattern = address is None and not any(map(_NUMBER.fullmatch, wanted))
    for is_address, name in names.alternative_names:
        if is_address:
            if name == address:
                return None
        elif address is None or common_name:
            if b"\0" in name:
                return _null_error()
            if _is_for(name, wanted, pattern=may_match_pattern):
                return None
    compared, first = names.readable_alternative_names, names.readable_common_name
    if not common_name:
        return _common_name_only(first, host) if not compared and first is not None else _mismatch(compared, host)
    kinds = {name.is_address for name in names.alternative_names}
    if first is not None and (address is not None) not in kinds:
        name = names.common_names[0]
        if b"\0" in name:
            return _null_error()
        if _is_for(name, wanted, pattern=may_match_pattern):
            return None
        compared.append(first)
    return _mismatch(compared, host)


def name_to_send(host: str | None) -> str | None:
    """Return the name for SNI, or None for an address, which is not sent (RFC 6066 §3).

    Raises:
        ConfigError: The name is not a valid host name.
    """
    return None if host is None or as_address(host) is not None else ascii_name(host)


def _packed(host: str) -> bytes | None:
    """Return the octets of an iPAddress; None for a name or for an address with a zone (``fe80::1%eth0``)."""
    address = as_address(host)
    return None if address is None or getattr(address, "scope_id", None) else address.packed


def _spellings(host: str) -> frozenset[bytes]:
    """Return the encodings of `host`: as given, and in A-labels. Only ASCII letters are converted to lower case."""
    spellings = {host.encode("utf-8", "surrogatepass").lower()}
    if not host.isascii():
        try:
            spellings.add(ascii_name(host).encode().lower())
        except ConfigError:
            pass  # not a name in DNS: it has no A-labels
    return frozenset(spellings)


def _is_for(name: bytes, wanted: frozenset[bytes], *, pattern: bool) -> bool:
    name = name.lower()
    if name in wanted:
        return True
    if not pattern or not name.startswith(b"*."):
        return False
    rest = name[2:]
    labels = rest.removesuffix(b".").split(b".")
    if len(labels) < 2 or b"*" in rest or not all(labels):
        return False
    return any(label and parent == rest for label, _, parent in (host.partition(b".") for host in wanted))


def _common_name_only(name: str, host: str) -> CertificateError:
    return CertificateError(
        f'server certificate for "{_shown(name)}" does not match host name "{host}": it has only '
        "a common name, and only the names in the subjectAltName extension are compared",
        reason="common-name-only",
        remedy=_NEEDS_ALTERNATIVE_NAME,
    )


def _mismatch(names: Sequence[str], host: str) -> CertificateError:
    """Return the error for a host that matches none of these names, which are listed in the order of comparison."""
    if not names:
        return CertificateError(
            "could not get server's host name from server certificate: it contains no names, and therefore does not "
            f'match host name "{host}"',
            reason="hostname-mismatch",
            remedy=_NEEDS_ALTERNATIVE_NAME,
        )
    count = len(names) - 1
    others = f" (and {count} other name{'s' if count > 1 else ''})" if count else ""
    listed = f"; it is for {', '.join(map(_shown, names[:_SHOWN]))}" if count else ""
    return CertificateError(
        f'server certificate for "{_shown(names[0])}"{others} does not match host name "{host}"{listed}',
        reason="hostname-mismatch",
        remedy=_REMEDY,
    )


def _null_error() -> CertificateError:
    return CertificateError(
        "SSL certificate's name contains embedded null",
        reason="invalid",
        remedy="Programs interpret such a name in different ways (CVE-2009-4034). Do not trust this server.",
    )


def _shown(name: str) -> str:
    return visible(name, limit=_MAX_SHOWN)
