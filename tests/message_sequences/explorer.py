"""Explores a handshake depth-first: all sequences of symbols up to a length, each checked by the oracle.

A generator cannot be copied. Each sequence gets a new one, which receives the recorded results of the prefix. Only the
last symbol is checked, because the prefix has been checked before. A prefix is not extended if the generator has ended.

If a mode makes a second connection within the same connect, it continues with the same sequence. The answers to
SSLRequest and the outcomes of the TLS handshakes belong to the situation and are not symbols.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from babar_tls.errors import Closed, Error, TlsError
from babar_tls.protocol.handshake import handshake
from babar_tls.protocol.requests import Connect, Derive, Fill, Receive, Send, StartTls

from .alphabet import ALPHABET, Symbol
from .oracle import Oracle, Rules, Violation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from babar_tls.config import Config
    from babar_tls.protocol.requests import Exchange

    from .situations import Situation

_MAX_FINDINGS = 20


@dataclass(frozen=True)
class Finding:
    """A sequence with a wrong result."""

    situation: Situation
    sequence: tuple[str, ...]
    what: str

    def __str__(self) -> str:
        server = " | ".join(self.sequence) or "(nothing)"
        return f"{self.what}\n    policy: {self.situation.describe()}\n    server: {server}"


@dataclass
class Outcome:
    """The result of an exploration.

    Attributes:
        sequences: The number of sequences.
        ends: The number of sequences by end: ``established`` with the method, ``error`` with its class, ``open``.
        findings: The violations, up to a limit.
    """

    sequences: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)

    def add(self, other: Outcome) -> None:
        """Add another outcome."""
        self.sequences += other.sequences
        self.ends += other.ends
        self.findings += other.findings[: _MAX_FINDINGS - len(self.findings)]

    def __str__(self) -> str:
        ends = "".join(f"\n  {count:>10,}  {end}" for end, count in sorted(self.ends.items()))
        return f"{self.sequences:,} sequences, {len(self.findings)} findings{ends}"


#: One result of a request: a value to send, bytes to put into an inbox, or a function that returns an error to throw.
_Step = tuple[str, Any]


class _Connect:
    """A generator with the steps that it has received."""

    def __init__(self, config: Config, steps: Iterable[_Step] = ()) -> None:
        self._generator: Exchange[Any] = handshake(config)
        self.request: Any = None
        self.steps: list[_Step] = []
        self.request = next(self._generator)
        for step in steps:
            self.take(step)

    def take(self, step: _Step) -> None:
        """Answer the current request and store the next one; an error or `StopIteration` may be raised."""
        self.steps.append(step)
        action, value = step
        if action == "read":
            self.request = self._read(value)
        elif action == "send":
            self.request = self._generator.send(value)
        else:
            self.request = self._generator.throw(value())

    def _read(self, data: bytes) -> Any:
        if isinstance(self.request, Receive):
            return self._generator.send(data)
        inbox = self.request.inbox
        inbox.space()[: len(data)] = data
        if data:
            inbox.received(len(data))
        return self._generator.send(len(data))

    def close(self) -> None:
        """Abandon the connect, like a cancelled driver."""
        self._generator.close()


class _Exploration:
    def __init__(self, situation: Situation, depth: int, alphabet: Iterable[Symbol]) -> None:
        self._situation = situation
        self._config = situation.config()
        self._depth = depth
        self._alphabet = tuple(alphabet)
        self.outcome = Outcome()

    def run(self) -> Outcome:
        oracle = Oracle(Rules(self._situation))
        steps = self._judge(oracle, (), lambda: _Connect(self._config), None)
        if steps is not None and self._depth:
            self._extend(oracle, (), steps)
        return self.outcome

    def _extend(self, oracle: Oracle, sequence: tuple[str, ...], steps: list[_Step]) -> None:
        for symbol in self._alphabet:
            extended = (*sequence, symbol.name)
            after = oracle.copy()
            self.outcome.sequences += 1
            further = self._judge(after, extended, lambda: _Connect(self._config, steps), symbol)
            if further is not None and len(extended) < self._depth:
                self._extend(after, extended, further)

    def _judge(
        self, oracle: Oracle, sequence: tuple[str, ...], make: Callable[[], _Connect], symbol: Symbol | None
    ) -> list[_Step] | None:
        """Run a sequence's last symbol; return the steps if the generator waits for another one."""
        try:
            connect = make()
            if symbol is not None:
                data = symbol.read(oracle.auth_message)
                oracle.receives(data)
                if data is not None:
                    connect.take(("read", data))
                else:
                    connect.take(("throw", _broken_tls if oracle.encrypted else _broken_connection))
            _drive(connect, oracle)
            connect.close()
        except StopIteration as stop:
            end = self._established(oracle, sequence, stop.value)
        except Error as error:
            end = f"error {type(error).__name__}"
            self._check(oracle.raises, error, sequence)
        except Violation as violation:
            end = "violation"
            self._find(sequence, str(violation))
        except Exception as exc:  # only errors of the library may be raised
            end = "violation"
            self._find(sequence, f"{type(exc).__name__} raised: {exc}")
        else:
            self.outcome.ends["open"] += 1
            return connect.steps
        self.outcome.ends[end] += 1
        return None

    def _established(self, oracle: Oracle, sequence: tuple[str, ...], established: Any) -> str:
        self._check(oracle.returns, established, sequence)
        notes = [
            oracle.method,
            *(["over TLS"] if oracle.encrypted else []),
            *(["pipelined"] if oracle.is_pipelined else []),
            *(["on the second connection"] if oracle.connections == 2 else []),
        ]
        return f"established: {', '.join(notes)}"

    def _check(self, check: Callable[[Any], None], end: object, sequence: tuple[str, ...]) -> None:
        try:
            check(end)
        except Violation as violation:
            self._find(sequence, str(violation))

    def _find(self, sequence: tuple[str, ...], what: str) -> None:
        if len(self.outcome.findings) < _MAX_FINDINGS:
            self.outcome.findings.append(Finding(self._situation, sequence, what))


def _broken_tls() -> Error:
    return TlsError("decryption failed or bad record mac")


def _broken_connection() -> Error:
    return Closed("Connection reset by peer")


def _drive(connect: _Connect, oracle: Oracle) -> None:
    """Perform requests until one waits for the next symbol."""
    while True:
        request = connect.request
        step: _Step = ("send", None)
        if isinstance(request, Send):
            oracle.sends(request)
        elif isinstance(request, Receive | Fill):
            answer = oracle.answers_ssl_request()
            if answer is None:
                return
            step = ("read", answer)
        elif isinstance(request, Connect):
            oracle.connects(request)
        elif isinstance(request, StartTls):
            result = oracle.starts_tls(request)
            step = ("throw", result) if callable(result) else ("send", result)
        elif isinstance(request, Derive):
            step = ("send", oracle.derives(request))
        else:
            raise Violation(f"{request!r} is not a request")
        connect.take(step)


def explore(situations: Iterable[Situation], depth: int, alphabet: Iterable[Symbol] = ALPHABET) -> Outcome:
    """Run all sequences of up to `depth` symbols under each situation."""
    total = Outcome()
    alphabet = tuple(alphabet)
    for situation in situations:
        total.add(_Exploration(situation, depth, alphabet).run())
    return total
