"""Decide whether a certificate is for a host, for every backend, and name the fault if it is not.

`name_fault` compares by libpq's rules, or by RFC 9525's. By libpq's rules:

* An alternative name of the kind that is looked for (dNSName for names, iPAddress for addresses) excludes the common
  name; alternative names of other kinds do not.
* An address may also stand literally in a dNSName or in the common name.
* Of several common names the first counts.
* ``*.`` stands for the whole leftmost label, whatever characters this label and the others consist of.
* A name that contains a NUL is an error, unless an earlier name matches.

By RFC 9525 only alternative names of the right kind count; the other rules are the same. Both are stricter than libpq
in two points: ``*.com`` is not a pattern, and no pattern matches an address.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from ..diagnostics.escaping import visible
from ..errors import CertificateError, ConfigError
from .der import DerError
from .idna import as_address, ascii_name
from .names import SubjectNames, subject_names

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["as_address", "ascii_name", "name_fault", "name_to_send"]

_REMEDY = "Connect by a name that the certificate has, or set tls_server_name to the name to expect."
_SHOWN = 8  # names of a certificate in a message
_MAX_SHOWN = 253  # characters of a name in a message


def name_fault(der: bytes, host: str, *, common_name: bool = True) -> CertificateError | None:
    """Return the error for a certificate that is not for `host`, or None if it is.

    Args:
        der: The certificate.
        host: A name or an address.
        common_name: Compare by libpq's rules; `False`: by RFC 9525 §6.3.
    """
    return None if _matches(der, host, common_name) else _fault(der, host, common_name=common_name)


#: A name that ends in a number: resolvers take such names for addresses in unusual forms (``0177.0.0.1``, ``127.1``).
_NUMBER = re.compile(rb"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?", re.DOTALL)


@lru_cache(maxsize=32)
def _matches(der: bytes, host: str, common_name: bool) -> bool:
    """Memoize the result of a comparison: a pool compares the same names at every connect."""
    return _fault(der, host, common_name=common_name) is None


def _fault(der: bytes, host: str, *, common_name: bool) -> CertificateError | None:
    try:
        names = subject_names(der)
    except DerError as exc:
        return CertificateError(f"the names of the server's certificate cannot be read: {exc}", reason="invalid")
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
    if not common_name:
        return _fault_of_alternative_names(names, host)
    if _common_name_counts(names, is_address=address is not None):
        name = names.common_names[0]
        if b"\0" in name:
            return _null_error()
        if _is_for(name, wanted, pattern=may_match_pattern):
            return None
    return _fault_of_all(names, host)


def name_to_send(host: str | None) -> str | None:
    """Return the name for SNI; an address is not sent (RFC 6066 §3).

    Raises:
        ConfigError: No host can have such a name.
    """
    return None if host is None or as_address(host) is not None else ascii_name(host)


def _packed(host: str) -> bytes | None:
    """Return the octets to look for in an iPAddress; an address with a zone (``fe80::1%eth0``) has none."""
    address = as_address(host)
    return None if address is None or getattr(address, "scope_id", None) else address.packed


def _spellings(host: str) -> frozenset[bytes]:
    """Return the octets that name `host`: as it is written, and in A-labels. Only ASCII letters are case-folded."""
    spellings = {host.encode("utf-8", "surrogatepass").lower()}
    if not host.isascii():
        try:
            spellings.add(ascii_name(host).encode().lower())
        except ConfigError:
            pass  # DNS cannot have such a name, so that it has one spelling
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


def _common_name_counts(names: SubjectNames, *, is_address: bool) -> bool:
    kinds = {name.is_address for name in names.alternative_names}
    return bool(names.common_names) and is_address not in kinds


def _fault_of_alternative_names(names: SubjectNames, host: str) -> CertificateError:
    """Return the error where only alternative names count and none has matched."""
    readable, common_name = names.readable_alternative_names, names.readable_common_name
    if not readable and common_name is not None:
        return CertificateError(
            f'server certificate for "{_shown(common_name)}" does not match host name "{host}": it has only '
            "a common name, and names are looked for in the subjectAltName extension",
            reason="common-name-only",
            remedy="The server needs a certificate with a subjectAltName (RFC 9525 §6.3).",
        )
    return _mismatch(readable, host)


def _fault_of_all(names: SubjectNames, host: str) -> CertificateError:
    """Return the error where nothing has matched; it lists all that was compared, in that order."""
    compared, common_name = names.readable_alternative_names, names.readable_common_name
    if common_name is not None and _common_name_counts(names, is_address=_packed(host) is not None):
        compared.append(common_name)
    return _mismatch(compared, host)


def _mismatch(names: Sequence[str], host: str) -> CertificateError:
    if not names:
        return CertificateError(
            "could not get server's host name from server certificate: it has none, and therefore does not match host "
            f'name "{host}"',
            reason="hostname-mismatch",
            remedy="The server needs a certificate with a subjectAltName (RFC 9525 §6.3).",
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
        remedy="Programs read such a name in different ways (CVE-2009-4034). Do not trust this server.",
    )


def _shown(name: str) -> str:
    return visible(name, limit=_MAX_SHOWN)
