"""Shared settings of all fuzzing properties, the count of their examples, and the corpora.

A test run executes a fixed, small number of examples for each property and derives them from the property, so that the
result is reproducible. ``BABAR_TLS_FUZZ_EXAMPLES=20000`` executes that many random examples and stores failing ones in
``build/fuzz-hypothesis``. The next run begins with these.
"""

from __future__ import annotations

import functools
import json
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.database import DirectoryBasedExampleDatabase

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypothesis.strategies import SearchStrategy

VARIABLE = "BABAR_TLS_FUZZ_EXAMPLES"
_DEFAULT_EXAMPLES = 120
_MAX_EXAMPLES_FOR_A_FAULT = 2000

#: True if the environment variable requests a long run.
LONG = VARIABLE in os.environ
_EXAMPLES = int(os.environ.get(VARIABLE, _DEFAULT_EXAMPLES))

_HERE = Path(__file__).parent
_ROOT = _HERE.parents[1]

#: Examples executed so far, by target (the module's name without "test_") and property.
executed: Counter[tuple[str, str]] = Counter()


def fuzz(share: float = 1.0, **strategies: SearchStrategy[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a property test like `hypothesis.given`, with the shared settings.

    Args:
        share: Multiplies the number of examples; below 1 for a property with slow examples.
        strategies: As for `hypothesis.given`; other arguments of the property are fixtures.
    """
    count = max(1, round(_EXAMPLES * share))

    def decorate(check: Callable[..., None]) -> Callable[..., None]:
        test: Any = settings(
            max_examples=count,
            deadline=None,
            derandomize=not LONG,
            database=DirectoryBasedExampleDatabase(_ROOT / "build" / "fuzz-hypothesis") if LONG else None,
            suppress_health_check=list(HealthCheck),
        )(given(**strategies)(_counted(check)))
        test.check, test.strategies = check, strategies
        return test

    return decorate


def failure(test: Callable[..., None], **fixtures: Any) -> Exception | None:
    """Search for a counterexample of a property made by `fuzz`, without shrinking it.

    Sanity checks use it with an implementation that they have broken.

    Returns:
        The exception of the counterexample, `None` if there is none.
    """
    search: Any = test
    quick = settings(
        max_examples=_MAX_EXAMPLES_FOR_A_FAULT,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    try:
        quick(given(**search.strategies)(search.check))(**fixtures)
    except Exception as exc:
        return exc
    return None


def corpus(target: str) -> dict[str, bytes]:
    """Return the stored inputs of a target by name.

    They are the files of ``corpus/<target>/``, or the values of ``corpus/<target>.json``: text, or ``{"hex": …}`` if
    the input is not UTF-8.
    """
    folder = _HERE / "corpus" / target
    if folder.is_dir():
        return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    cases = corpus_objects(target).items()
    return {name: case.encode() if isinstance(case, str) else bytes.fromhex(case["hex"]) for name, case in cases}


def corpus_objects(target: str) -> dict[str, Any]:
    """Return the values of ``corpus/<target>.json`` by name."""
    cases: dict[str, Any] = json.loads((_HERE / "corpus" / f"{target}.json").read_text())
    return cases


def certificate_seeds() -> dict[str, bytes]:
    """Return the seed certificates of the C fuzzer by file name."""
    return {path.name: path.read_bytes() for path in sorted((_ROOT / "fuzz" / "seeds" / "certificate").iterdir())}


def _counted(check: Callable[..., None]) -> Callable[..., None]:
    key = (check.__module__.rpartition(".")[2].removeprefix("test_"), check.__name__)

    @functools.wraps(check)
    def counting(*args: Any, **kwargs: Any) -> None:
        executed[key] += 1
        check(*args, **kwargs)

    return counting
