"""Facts about TLS backends, in one list for the command's table, its JSON document and the documentation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from ..tls.algorithms import is_post_quantum

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..backends import BackendStatus, Capabilities, ClientOffer


class Verdict(NamedTuple):
    """An answer, marked as good or bad."""

    good: bool
    text: str


Answer: TypeAlias = Verdict | str | Sequence[str]


class Fact(NamedTuple):
    """One row of the table.

    Attributes:
        label: The heading of the row.
        answer: Returns a backend's cell.
        depends_on_release: The answer depends on the installed releases, not only on the backend.
    """

    label: str
    answer: Callable[[Capabilities, ClientOffer | None], Answer]
    depends_on_release: bool = False


_UNKNOWN = "not reported"
_CHOICES = {"no": "no", "one": "one group", "list": "any list", "TLSv1.2": "only TLS 1.2", "all": "all"}


def _yes(good: bool, otherwise: str = "no") -> Verdict:
    return Verdict(good, "yes" if good else otherwise)


def _post_quantum(_: Capabilities, offer: ClientOffer | None) -> Answer:
    if offer is None:
        return _UNKNOWN
    groups = [group for group in offer.groups if is_post_quantum(group)]
    return Verdict(bool(groups), groups[0] if groups else "no")


FACTS = (
    Fact("version", lambda facts, _: facts.version, True),
    Fact("TLS", lambda facts, _: [version.value for version in facts.tls_versions]),
    Fact("post-quantum key exchange", _post_quantum, True),
    Fact("key-exchange groups", lambda _, offer: offer.groups if offer else _UNKNOWN, True),
    Fact("  with a key share", lambda _, offer: offer.key_shares if offer else _UNKNOWN, True),
    Fact("choice of groups", lambda facts, _: _CHOICES[facts.selects_groups], True),
    Fact("choice of cipher suites", lambda facts, _: _CHOICES[facts.selects_ciphers], True),
    Fact("channel bindings", lambda facts, _: facts.channel_bindings),
    Fact(
        "binds an unverified server",
        lambda facts, _: _yes(facts.unverified_proven, "no: its signature is not checked"),
    ),
    Fact("common names (libpq's rules)", lambda facts, _: _yes(facts.common_names)),
    Fact("revocation lists", lambda facts, _: _yes(facts.crls)),
    Fact("key log", lambda facts, _: _yes(facts.key_log)),
    Fact("client keys", lambda facts, _: facts.client_keys or Verdict(False, "no")),
    Fact("reports certificate requests", lambda facts, _: _yes(facts.reports_certificate_request)),
    Fact("operating system's verifier", lambda facts, _: _yes(facts.os_roots), True),
    Fact("FIPS 140 mode", lambda facts, _: {None: _UNKNOWN, True: "on", False: "off"}[facts.fips], True),
)


def document(status: BackendStatus) -> dict[str, Any]:
    """Return a backend's entry in the JSON document."""
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
    """Return the table of the documentation, with the installed backends."""
    backends = [(status.name, status.capabilities, status.offer) for status in statuses if status.capabilities]
    lines = ["| |" + "".join(f" `{name}` |" for name, _, _ in backends), "|---|" + "---|" * len(backends)]
    for fact in FACTS:
        cells = [_words(fact.answer(facts, offer)) for _, facts, offer in backends]
        lines.append(f"| {fact.label.strip()} |" + "".join(f" {cell} |" for cell in cells))
    return "\n".join(lines) + "\n"


def _words(answer: Answer) -> str:
    if isinstance(answer, Verdict):
        return answer.text
    return answer if isinstance(answer, str) else ", ".join(answer)
