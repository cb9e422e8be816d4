"""No sequence of server messages makes the handshake violate its rules.

The short form runs all sequences of up to four symbols under situations that contain each pair of values. The long
form, with up to five symbols under all situations, runs if the environment variable BABAR_TLS_EXHAUSTIVE is 1.
"""

from __future__ import annotations

import os
from collections import Counter
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from babar_tls.errors import ConfigError

from .alphabet import ALPHABET
from .explorer import explore
from .situations import (
    DIMENSIONS,
    all_situations,
    characteristic,
    core_product,
    every_pair,
    pairs_of,
    possible_pairs,
    refusals,
    situation,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from .explorer import Outcome

_SHORT, _LONG = 4, 5
_SHORT_CHUNKS, _LONG_CHUNKS = 4, 64
_EXHAUSTIVE = os.environ.get("BABAR_TLS_EXHAUSTIVE") == "1"

#: Ends that `characteristic()` situations must reach. Otherwise the rules could hold because nothing happens.
_ENDS = (
    "established: none",
    "established: none, over TLS",
    "established: none, on the second connection",
    "established: none, over TLS, on the second connection",
    "established: password, over TLS",
    "established: md5",
    "established: md5, over TLS",
    "established: scram-sha-256",
    "established: scram-sha-256, pipelined",
    "established: scram-sha-256, over TLS",
    "established: scram-sha-256, on the second connection",
    "established: scram-sha-256-plus, over TLS",
    "established: scram-sha-256-plus, over TLS, pipelined",
    "established: scram-sha-256-plus, over TLS, on the second connection",
    "error ChannelBindingRefused",
    "error ServerSignatureError",
)


def _judge(outcome: Outcome, minimum: int, record_property: Callable[[str, object], None]) -> None:
    record_property("sequences", outcome.sequences)
    print(outcome)  # noqa: T201 - pytest shows it with -rP, and with a failure
    assert not outcome.findings, "\n".join(map(str, outcome.findings))
    assert outcome.sequences >= minimum


@pytest.mark.timeout(600)
@pytest.mark.parametrize("chunk", range(_SHORT_CHUNKS))
def test_four_messages_violate_no_rule_under_each_pair_of_values(
    chunk: int, record_property: Callable[[str, object], None]
) -> None:
    _judge(explore(every_pair()[chunk::_SHORT_CHUNKS], _SHORT), 60_000, record_property)


@pytest.mark.timeout(600)
def test_four_messages_reach_each_kind_of_session(record_property: Callable[[str, object], None]) -> None:
    outcome = explore(characteristic(), _SHORT)
    _judge(outcome, 20_000, record_property)
    assert not [end for end in _ENDS if not outcome.ends[end]]


@pytest.mark.timeout(600)
def test_three_messages_violate_no_rule_after_each_failed_negotiation(
    record_property: Callable[[str, object], None],
) -> None:
    _judge(explore(refusals(), 3), 30_000, record_property)


@pytest.mark.timeout(3600)
@pytest.mark.skipif(not _EXHAUSTIVE, reason="takes 20 minutes of CPU time: set BABAR_TLS_EXHAUSTIVE=1")
@pytest.mark.parametrize("chunk", range(_LONG_CHUNKS if _EXHAUSTIVE else 1))
def test_five_messages_violate_no_rule_under_all_situations(
    chunk: int, record_property: Callable[[str, object], None]
) -> None:
    _judge(explore(all_situations()[chunk::_LONG_CHUNKS], _LONG), 100_000, record_property)


def test_selections_contain_each_possible_pair_of_values() -> None:
    possible = set(possible_pairs())
    for selection in (every_pair(), all_situations()):
        assert possible <= set().union(*map(pairs_of, selection))


def test_core_product_varies_other_dimensions() -> None:
    for name in ("verify", "credentials", "pipelining", "client_certificate", "protocol"):
        counts = Counter(getattr(chosen, name) for chosen in core_product())
        assert min(counts[value] for value in DIMENSIONS[name].values()) >= 80


def test_impossible_situations_are_refused_by_the_configuration() -> None:
    names = ("channel_binding", "transport", "verify", "client_certificate")
    for labels in product(*(DIMENSIONS[name] for name in names)):
        chosen = situation(**dict(zip(names, labels, strict=True)))
        try:
            chosen.config()
        except ConfigError:
            assert not chosen.is_possible(), labels
        else:
            assert chosen.is_possible(), labels


def test_symbols_have_different_names() -> None:
    assert len({symbol.name for symbol in ALPHABET}) == len(ALPHABET)


@pytest.mark.parametrize("module", ["honest_server", "oracle"])
def test_oracle_imports_no_policy_of_the_library(module: str) -> None:
    lines = (Path(__file__).parent / f"{module}.py").read_text().splitlines()
    imported = {line.split()[1] for line in lines if line.strip().startswith(("from babar_tls", "import babar_tls"))}
    allowed = {"errors", "protocol.handshake", "protocol.requests", "tls.contract"}
    assert {name.removeprefix("babar_tls.") for name in imported} <= allowed
