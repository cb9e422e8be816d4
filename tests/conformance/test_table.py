"""The table itself: its size, and how much of it is agreement."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

from .differences import DIFFERENCES, difference
from .table_certificates import CERTIFICATES
from .table_hosts import HOSTS
from .table_servers import PLAIN, POSTGRES15, TLS, VERSIONS, versions

_BATCHES = [
    *chain.from_iterable(table.values() for table in (TLS, PLAIN, POSTGRES15, CERTIFICATES, HOSTS)),
    *(versions("certs", limits) for limits in VERSIONS),
]
#: Each case once, even if it is in several batches.
CASES = list({str(case): case for case in chain.from_iterable(_BATCHES)}.values())
DOCUMENT = Path(__file__).parents[2] / "docs" / "conformance.md"


def test_size() -> None:
    """There are hundreds of cases, none twice in its batch, and nearly all are agreement."""
    assert len(CASES) >= 400
    assert [batch[0] for batch in _BATCHES if len(set(map(str, batch))) != len(batch)] == []
    differing = [case for case in CASES if difference(case) is not None]
    rate = 1 - len(differing) / len(CASES)
    print(f"{len(CASES)} cases, {len(differing)} of them differ on purpose: {rate:.1%} agreement")  # noqa: T201 - the summary of the test run
    assert rate > 0.9


def test_differences() -> None:
    """Every deliberate difference is shown by a case, and documented."""
    shown = {found.name for case in CASES if (found := difference(case)) is not None}
    assert shown == {item.name for item in DIFFERENCES}
    text = DOCUMENT.read_text(encoding="utf-8")
    assert [item.name for item in DIFFERENCES if f"**{item.name}**" not in text] == []
