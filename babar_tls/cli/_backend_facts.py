"""What is said of TLS engines, fact by fact: one list for the command's table, its JSON and the documentation."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

from ..tls.algorithms import is_post_quantum

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..backends import BackendStatus, Capabilities, ClientOffer


_UNKNOWN = "not told"
_CHOICES = {"no": "no", "one": "one group", "list": "any list", "TLSv1.2": "TLS 1.2 alone", "all": "all"}


class Good(NamedTuple):
    """An answer that is a yes or a no, and its words."""

    good: bool
    text: str


class Fact(NamedTuple):
    """One row.

    Attributes:
        label: What it is about.
        answer: What an engine says to it.
        told_by_machine: It depends on the releases that are installed, not on the engine alone.
    """

    label: str
    answer: Callable[[Capabilities, ClientOffer | None], Iterable[str] | str | Good]
    told_by_machine: bool = False


def _yes(good: bool, otherwise: str = "no") -> Good:
    return Good(good, "yes" if good else otherwise)


def _post_quantum(_: Capabilities, offer: ClientOffer | None) -> str | Good:
    if offer is None:
        return _UNKNOWN
    groups = [group for group in offer.groups if is_post_quantum(group)]
    return Good(bool(groups), groups[0] if groups else "no")


def _fips(facts: Capabilities, _: ClientOffer | None) -> str:
    return {None: _UNKNOWN, True: "on", False: "off"}[facts.fips]


FACTS = (
    Fact("version", lambda facts, _: facts.version, told_by_machine=True),
    Fact("TLS", lambda facts, _: [version.value for version in facts.tls_versions]),
    Fact("post-quantum key exchange", _post_quantum, told_by_machine=True),
    Fact("key-exchange groups", lambda _, offer: offer.groups if offer else _UNKNOWN, told_by_machine=True),
    Fact("  with a share at once", lambda _, offer: offer.key_shares if offer else _UNKNOWN, told_by_machine=True),
    Fact("choice of groups", lambda facts, _: _CHOICES[facts.selects_groups], told_by_machine=True),
    Fact("choice of cipher suites", lambda facts, _: _CHOICES[facts.selects_ciphers], told_by_machine=True),
    Fact("channel bindings", lambda facts, _: facts.channel_bindings),
    Fact(
        "binds an unverified server",
        lambda facts, _: _yes(facts.unverified_proven, "no: its signature is not checked"),
    ),
    Fact("common names (libpq's rules)", lambda facts, _: _yes(facts.common_names)),
    Fact("revocation lists", lambda facts, _: _yes(facts.crls)),
    Fact("key log", lambda facts, _: _yes(facts.key_log)),
    Fact("client certificates", lambda facts, _: _yes(facts.client_certificates)),
    Fact("tells of certificate requests", lambda facts, _: _yes(facts.reports_certificate_request)),
    Fact("system's own verifier", lambda facts, _: _yes(facts.os_roots), told_by_machine=True),
    Fact("FIPS 140 mode", _fips, told_by_machine=True),
)


def document(status: BackendStatus) -> dict[str, Any]:
    """An engine's entry in the JSON document."""
    facts = status.capabilities
    entry: dict[str, Any] = {"name": status.name, "available": facts is not None}
    if facts is not None:
        entry.update(dataclasses.asdict(facts))
        entry["tls_versions"] = [version.value for version in facts.tls_versions]
        offer = status.offer
        entry["groups"] = list(offer.groups) if offer is not None else None
        entry["key_shares"] = list(offer.key_shares) if offer is not None else None
        entry["post_quantum"] = any(map(is_post_quantum, offer.groups)) if offer is not None else None
    if status.problem is not None:
        entry.update(problem=status.problem.message, remedy=status.problem.remedy)
    return entry


def markdown(statuses: Iterable[BackendStatus]) -> str:
    """The table of the documentation, of the engines that are installed."""
    engines = [(status.name, status.capabilities, status.offer) for status in statuses if status.capabilities]
    lines = ["| |" + "".join(f" `{name}` |" for name, _, _ in engines), "|---|" + "---|" * len(engines)]
    for fact in FACTS:
        cells = [_words(fact.answer(facts, offer)) for _, facts, offer in engines]
        lines.append(f"| {fact.label.strip()} |" + "".join(f" {cell} |" for cell in cells))
    return "\n".join(lines) + "\n"


def _words(answer: Iterable[str] | str | Good) -> str:
    if isinstance(answer, Good):
        return answer.text
    return answer if isinstance(answer, str) else ", ".join(answer)
