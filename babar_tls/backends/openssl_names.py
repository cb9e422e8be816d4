"""Whether a certificate is for a name, by service-identity (RFC 9525)."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from cryptography import x509
from service_identity import CertificateError, VerificationError
from service_identity.hazmat import DNS_ID, DNSPattern, IPAddress_ID, IPAddressPattern, verify_service_identity

from .names import as_address, ascii_name

if TYPE_CHECKING:
    from OpenSSL.crypto import X509


def certificate_matches(certificate: X509, name: str) -> bool:
    """Is the certificate for this name or address? One that cannot be read is for nobody."""
    address = as_address(name)
    try:
        wanted = IPAddress_ID(str(address)) if address is not None else DNS_ID(ascii_name(name))
        verify_service_identity(_patterns(certificate.to_cryptography()), [wanted], [])
    except (VerificationError, CertificateError, ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return False
    return True


def _patterns(certificate: x509.Certificate) -> list[DNSPattern | IPAddressPattern]:
    """The names that can match; one that cannot (``*``, an address as a dNSName) must not spoil the others."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    patterns: list[DNSPattern | IPAddressPattern] = []
    for name in names.get_values_for_type(x509.DNSName):
        try:
            patterns.append(DNSPattern.from_bytes(name.encode()))
        except CertificateError:
            continue
    addresses = names.get_values_for_type(x509.IPAddress)
    patterns += [IPAddressPattern(a) for a in addresses if isinstance(a, ipaddress.IPv4Address | ipaddress.IPv6Address)]
    return patterns
