"""Parse the names of a certificate's subject: its common names and its alternative names.

The TLS library has accepted the certificate. The rules here are therefore not stricter than those of the library (see
`der`).
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, NamedTuple

from .certificate import read_fields
from .der import CONSTRUCTED, DerError, elements, only_element, string

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .der import Element


_SAN_DNS, _SAN_IP = 0x82, 0x87
_SUBJECT_ALT_NAME = b"\x55\x1d\x11"  # the content of 2.5.29.17

#: The type of an attribute: the content of 2.5.4.3.
COMMON_NAME = b"\x55\x04\x03"


class AlternativeName(NamedTuple):
    """One dNSName, or the octets of one iPAddress (RFC 5280 §4.2.1.6)."""

    is_address: bool
    content: bytes


class SubjectNames(NamedTuple):
    """All common names of the subject, and all dNSNames and iPAddresses, in their order, not decoded."""

    common_names: tuple[bytes, ...]
    alternative_names: tuple[AlternativeName, ...]

    @property
    def readable_common_name(self) -> str | None:
        """The first common name as text for messages, `None` if there is none."""
        return self.common_names[0].decode("utf-8", "replace") if self.common_names else None

    @property
    def readable_alternative_names(self) -> list[str]:
        """The alternative names as text for messages. Addresses of invalid length are omitted."""
        return [
            str(ipaddress.ip_address(content)) if is_address else content.decode("ascii", "replace")
            for is_address, content in self.alternative_names
            if not is_address or len(content) in (4, 16)
        ]


def subject_names(der: bytes) -> SubjectNames:
    """Return the names of a certificate, not decoded.

    Raises:
        DerError: `der` is not a certificate, or its names are malformed.
    """
    fields = read_fields(der)
    extension = fields.find_extensions(_SUBJECT_ALT_NAME).get(_SUBJECT_ALT_NAME)
    alternative = tuple(_alternative_names(extension)) if extension is not None else ()
    common = tuple(string(value) for kind, value in _attributes(fields.subject) if kind == COMMON_NAME)
    return SubjectNames(common, alternative)


def name_attributes(name: bytes) -> list[tuple[bytes, str]]:
    """Return the attributes of a distinguished name (DER, RFC 5280 §4.1.2.4), for messages.

    Returns:
        The content of the identifier of each type, and the value as text; empty if the name is malformed.
    """
    try:
        return [(kind, string(value).decode("utf-8", "replace")) for kind, value in _attributes(only_element(name))]
    except DerError:
        return []


def _attributes(name: Element) -> Iterator[tuple[bytes, Element]]:
    for relative_name in elements(name.content):
        for attribute in elements(relative_name.content):
            parts = tuple(elements(attribute.content))
            if len(parts) != 2:
                raise DerError("malformed attribute")
            yield parts[0].content, parts[1]


def _alternative_names(extension: Element) -> Iterator[AlternativeName]:
    for name in elements(extension.content):
        kind = name.tag & ~CONSTRUCTED
        if kind in (_SAN_DNS, _SAN_IP):
            yield AlternativeName(kind == _SAN_IP, string(name))
