"""The chain of certificates: one box each, connected in the order in which they are issued."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .markup import Html, bounded, count, element, isolated, join
from .units import moment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..diagnosis import CertificateSummary

_MAX_CERTIFICATES = 16
_MAX_FIELD = 300  # characters of a subject or an issuer
_FIRST_NAMES = 12  # names that are shown without a click
_MAX_NAMES = 250
_MAX_NAME_CHARACTERS = 8000  # of all names of one certificate, as markup

_ROLES = {"server": "Server certificate", "intermediate": "Intermediate CA", "root": "Root CA"}


def chain(certificates: Sequence[CertificateSummary], *, now: float) -> Html:
    """Return the certificates, the server's first, each above its issuer; then those that issued none of them.

    Args:
        certificates: The certificates; at least one.
        now: The time of the diagnosis, in seconds since 1970.
    """
    path, others = _path(certificates)
    last = path[-1]
    boxes = _boxes(path, "issued by", now)
    if last.origin == "sent" and last.issuer != last.subject:
        boxes.append(_missing(last.issuer))
    parts = [element("ol", *boxes, class_="chain")]
    if others:
        parts.append(element("p", "Other certificates, which issued none of those above:", class_="others"))
        parts.append(element("ol", *_boxes(others, None, now)))
    return join(*parts)


def _path(certificates: Sequence[CertificateSummary]) -> tuple[list[CertificateSummary], list[CertificateSummary]]:
    """Return the server's certificate and its issuers, by their names, and the other certificates."""
    others = list(certificates)
    path = [others.pop(0)]
    while path[-1].issuer != path[-1].subject:
        issuer = next((one for one in others if one.subject == path[-1].issuer), None)
        if issuer is None:
            break
        others.remove(issuer)
        path.append(issuer)
    return path, others


def _boxes(certificates: Sequence[CertificateSummary], link: str | None, now: float) -> list[Html]:
    """Return the boxes of certificates. If there are too many, those in the middle are left out."""
    parts: list[Html] = []
    previous = -1
    for index in _selected(certificates):
        if index > previous + 1:
            left_out = count(index - previous - 1, "certificate")
            parts.append(element("li", element("p", f"… {left_out} not shown"), class_="gap"))
        parts.append(_box(certificates[index], link if index else None, now))
        previous = index
    return parts


def _selected(certificates: Sequence[CertificateSummary]) -> list[int]:
    """Return the indices of the certificates to draw: the first ones, the last one, and faulty ones between them."""
    if len(certificates) <= _MAX_CERTIFICATES:
        return list(range(len(certificates)))
    half = _MAX_CERTIFICATES // 2
    last = len(certificates) - 1
    between = range(half, last)
    faulty = [index for index in between if certificates[index].fault is not None]
    sound = [index for index in between if certificates[index].fault is None]
    return sorted([*range(half), *(faulty + sound)[: _MAX_CERTIFICATES - half - 1], last])


def _missing(issuer: str) -> Html:
    """Return the box of an issuer that is not among the certificates."""
    return element(
        "li",
        element("h4", "Issuer"),
        element("p", isolated(issuer, limit=_MAX_FIELD), class_="subject"),
        element("p", "The server did not send this certificate."),
        class_="certificate missing",
    )


def _box(certificate: CertificateSummary, link: str | None, now: float) -> Html:
    role = _ROLES.get(certificate.role, certificate.role)
    faulty = certificate.fault is not None
    fault = (
        element("p", element("span", "✗ ", aria_hidden="true"), certificate.fault, class_="fault") if faulty else None
    )
    origin = "sent by the server" if certificate.origin == "sent" else isolated(certificate.origin)
    rows: list[tuple[str, Html | str | None]] = [
        ("Names", _names(certificate.names)),
        ("Issuer", isolated(certificate.issuer, limit=_MAX_FIELD)),
        ("Key", isolated(certificate.key, limit=_MAX_FIELD)),
        ("Signature", isolated(certificate.signature, limit=_MAX_FIELD)),
        ("Validity", _validity(certificate, now)),
        ("SHA-256", element("code", certificate.sha256)),
        ("From", origin),
    ]
    facts = [join(element("dt", name), element("dd", value)) for name, value in rows if value]
    return element(
        "li",
        None if link is None else element("span", link, class_="link"),
        element("h4", role),
        element("p", isolated(certificate.subject, limit=_MAX_FIELD), class_="subject"),
        fault,
        element("dl", *facts),
        class_="certificate faulty" if faulty else "certificate",
    )


def _names(names: Sequence[str]) -> Html | None:
    """Return the names, most of them behind a click if they are many."""
    if not names:
        return None
    part = bounded(names, items=_MAX_NAMES, characters=_MAX_NAME_CHARACTERS, limit=_MAX_FIELD)
    items = [element("li", element("bdi", item)) for item in part.items]
    if part.left_out:
        items.append(element("li", f"{part.left_out} more not shown", class_="omitted"))
    first = element("ul", *items[:_FIRST_NAMES], class_="names")
    if len(items) <= _FIRST_NAMES:
        return first
    summary = element("summary", count(len(names) - _FIRST_NAMES, "more name"))
    return join(first, element("details", summary, element("ul", *items[_FIRST_NAMES:], class_="names")))


def _validity(certificate: CertificateSummary, now: float) -> Html:
    left = "not valid yet" if certificate.not_before > now else certificate.time_left
    span = join(element("time", moment(certificate.not_before)), " to ", element("time", moment(certificate.not_after)))
    return join(span, " ", element("strong", f"({left})"))
