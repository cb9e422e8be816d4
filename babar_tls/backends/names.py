"""Whether a certificate is for a host, and what to say where it is not.

`name_fault` compares by libpq's rules, or by RFC 9525's alone for an engine that has no check of its own. libpq's:

* An alternative name of the kind that is looked for (dNSName for names, iPAddress for addresses) shuts out the common
  name; alternative names of other kinds do not.
* An address may also stand, to the letter, in a dNSName or in the common name.
* Of several common names the first counts.
* ``*`` stands for the whole leftmost label.

It is stricter than libpq where libpq is careless: ``*.com`` is no pattern, and none matches an address.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from ..errors import CertificateError, ConfigError
from ..protocol.certificate import CertificateNames, DerError, SubjectNames, certificate_names, subject_names

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["as_address", "ascii_name", "name_error", "name_fault"]

_REMEDY = "Connect by a name that the certificate has, or say which to expect: tls_server_name."
_SHOWN = 8  # names of a certificate in a message


def name_fault(der: bytes, host: str, *, common_name: bool = True) -> CertificateError | None:
    """Why the certificate is not for `host`, `None` if it is.

    Args:
        der: The certificate.
        host: A name or an address.
        common_name: Compare by libpq's rules; `False`: only by alternative names of the right kind (RFC 9525 §6.3).
    """
    try:
        names = subject_names(der)
    except DerError:
        return CertificateError("the names of the server's certificate cannot be read", reason="invalid")
    address = _packed(host)
    wanted = _spellings(host)
    for is_address, name in names.alternative_names:
        if is_address:
            if name == address:
                return None
        elif address is None or common_name:
            if b"\0" in name:
                return _null_error()
            if _is_for(name, wanted, pattern=address is None):
                return None
    if not common_name:
        return name_error(host, der)
    if _common_name_counts(names, is_address=address is not None):
        name = names.common_names[0]
        if b"\0" in name:
            return _null_error()
        if _is_for(name, wanted, pattern=address is None):
            return None
    return _fault_of_all(names, host, der)


def name_error(host: str | None, der: bytes | None) -> CertificateError:
    """The error for a certificate of somebody else, by the alternative names alone."""
    names = _readable(der)
    if not names.alternative_names and names.common_name is not None:
        return CertificateError(
            f'server certificate for "{_shown(names.common_name)}" does not match host name "{host}": it has only '
            "a common name, and names are looked for in the subjectAltName extension",
            reason="common-name-only",
            remedy="The server needs a certificate with a subjectAltName (RFC 9525 §6.3).",
        )
    return _mismatch(names.alternative_names or (names.first or "",), host)


def as_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that `host` spells, `None` if it is a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def ascii_name(host: str) -> str:
    """The name as DNS, SNI and certificates have it: labels in other scripts become A-labels.

    Raises:
        ConfigError: No host can have such a name.
    """
    try:
        name = host if host.isascii() else host.encode("idna").decode()
    except UnicodeError:
        raise ConfigError(f"{host!r} is not a host name") from None
    if not name or len(name) > 253 or any(not 0 < len(label) < 64 for label in name.rstrip(".").split(".")):
        raise ConfigError(f"{host!r} is not a host name: a label is empty or too long")
    return name


def _packed(host: str) -> bytes | None:
    """The octets to look for in an iPAddress; an address of one link (``fe80::1%eth0``) has none that count."""
    address = as_address(host)
    return None if address is None or getattr(address, "scope_id", None) else address.packed


def _spellings(host: str) -> frozenset[bytes]:
    """The octets that name `host`: as it is written, and in A-labels. Only ASCII letters have no case."""
    spellings = {host.encode("utf-8", "surrogateescape").lower()}
    if not host.isascii():
        try:
            spellings.add(host.encode("idna").lower())
        except UnicodeError:
            pass  # a name that DNS does not know has one spelling
    return frozenset(spellings)


def _is_for(name: bytes, wanted: frozenset[bytes], *, pattern: bool) -> bool:
    name = name.lower()
    if name in wanted:
        return True
    if not pattern or not name.startswith(b"*."):
        return False
    rest = name[2:]
    if b"*" in rest or any(not label for label in rest.split(b".")) or b"." not in rest:
        return False
    return any(label and parent == rest for label, _, parent in (host.partition(b".") for host in wanted))


def _common_name_counts(names: SubjectNames, *, is_address: bool) -> bool:
    kinds = {name.is_address for name in names.alternative_names}
    return bool(names.common_names) and is_address not in kinds


def _fault_of_all(names: SubjectNames, host: str, der: bytes) -> CertificateError:
    """Nothing matched: all that was compared, in that order."""
    readable = _readable(der)
    compared = list(readable.alternative_names)
    if readable.common_name is not None and _common_name_counts(names, is_address=_packed(host) is not None):
        compared.append(readable.common_name)
    if not compared:
        return CertificateError(
            "could not get server's host name from server certificate: it has none", reason="hostname-mismatch"
        )
    return _mismatch(compared, host)


def _mismatch(names: Sequence[str], host: str | None) -> CertificateError:
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
        remedy="Such a name says one thing to one reader and another to the next: do not trust this server.",
    )


def _shown(name: str) -> str:
    """A name as it may stand in a log: nothing in it moves a cursor or begins a line."""
    return "".join(char if char.isprintable() else "?" for char in name)


def _readable(der: bytes | None) -> CertificateNames:
    try:
        return certificate_names(der) if der else CertificateNames(None, ())
    except DerError:
        return CertificateNames(None, ())
