"""Runs many simultaneous connects, each with a fault, and checks their outcomes."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import dataclasses
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from babar_tls import AsyncSession, Config, Error, SecurityReport, Session, TimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .faults import Encounter, Fault, Faults, Strike

#: The numbers of simultaneous connects: those before their fault, which compute, and all, most of which wait.
_BEFORE_FAULT = 4
_AT_A_TIME = 48
#: Deadlines in seconds, by action. The next one is used if a deadline has passed before the fault happened, because
#: that connect has tested nothing.
_DEADLINES = {"close": (10.0,), "stall": (0.3, 1.5, 10.0), "flip": (0.6, 3.0, 10.0)}
#: Seconds by which a connect may be late on a busy machine.
_LATENESS = 3.0
#: Seconds that a task may run after the connect that started it.
_TASK_TIMEOUT = 5.0


@dataclass(frozen=True)
class Trial:
    """One connect.

    Attributes:
        fault: The fault, `None` for none.
        strike: The piece of the server's stream that the fault changed.
        deadline: `connect_timeout`, in seconds.
        seconds: The time until the connect was over.
        error: The class of the error that connecting raised, `None` if there is a session.
        text: The text of that error, or of the error of the query.
        security: The report of the session.
        rows: The answer to the session's first query.
    """

    fault: Fault | None
    strike: Strike | None
    deadline: float
    seconds: float
    error: type[Error] | None = None
    text: str = ""
    security: SecurityReport | None = None
    rows: Any = None


def run(config: Config, style: str, faults: Faults, wanted: Iterable[Fault]) -> list[Trial]:
    """Connect once for each fault.

    Raises:
        AssertionError: A connect has left an asyncio task behind.
        Exception: A connect has raised something that is not an `Error`.
    """
    return asyncio.run(_run(config, style, faults, wanted))


async def _run(config: Config, style: str, faults: Faults, wanted: Iterable[Fault]) -> list[Trial]:
    with ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="connect") as pool:
        connect = _connect_async if style == "asyncio" else _in_thread(pool)
        computing, all_of_them = asyncio.Semaphore(_BEFORE_FAULT), asyncio.Semaphore(_AT_A_TIME)

        async def one(fault: Fault) -> Trial:
            async with all_of_them:
                for deadline in _DEADLINES[fault.action]:
                    trial = await _try(connect, config.replace(connect_timeout=deadline), faults, fault, computing)
                    if trial.strike is not None or trial.error is None or not issubclass(trial.error, TimeoutError):
                        break
                return trial

        trials = await asyncio.gather(*[one(fault) for fault in wanted])
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        await asyncio.wait(others, timeout=_TASK_TIMEOUT)
    assert not [task for task in others if not task.done()]
    return trials


async def _try(
    connect: Callable[[Config], Any], config: Config, faults: Faults, fault: Fault, computing: asyncio.Semaphore
) -> Trial:
    loop = asyncio.get_running_loop()
    release = [computing.release]

    def start_another() -> None:
        for function in release:
            function()
        release.clear()

    def on_strike() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended: the client disconnected before the fault
            loop.call_soon_threadsafe(start_another)

    await computing.acquire()
    try:
        encounter = faults.expect(fault, on_strike)
        trial: Trial = await connect(config, encounter)
        return trial
    finally:
        start_another()


def _in_thread(pool: ThreadPoolExecutor) -> Callable[[Config, Encounter], Any]:
    return lambda config, encounter: asyncio.get_running_loop().run_in_executor(
        pool, connect_blocking, config, encounter
    )


def connect_blocking(config: Config, encounter: Encounter) -> Trial:
    """Connect to the address of `encounter`, query, close."""
    begun = time.monotonic()
    try:
        session = Session.connect(config.replace(hostaddr=encounter.address))
    except Error as error:
        return _trial(config, encounter, begun, error=type(error), text=str(error))
    trial = _trial(config, encounter, begun, security=session.security)
    with session:
        try:
            return dataclasses.replace(trial, rows=session.query("select 1"))
        except Error as error:
            return dataclasses.replace(trial, text=str(error))


async def _connect_async(config: Config, encounter: Encounter) -> Trial:
    begun = time.monotonic()
    try:
        session = await AsyncSession.connect(config.replace(hostaddr=encounter.address))
    except Error as error:
        return _trial(config, encounter, begun, error=type(error), text=str(error))
    trial = _trial(config, encounter, begun, security=session.security)
    async with session:
        try:
            return dataclasses.replace(trial, rows=await session.query("select 1"))
        except Error as error:
            return dataclasses.replace(trial, text=str(error))


def _trial(config: Config, encounter: Encounter, begun: float, **outcome: Any) -> Trial:
    # Keep only the class and the text of an error: its frames refer to resources that must be released.
    seconds = time.monotonic() - begun
    assert config.connect_timeout is not None
    return Trial(encounter.fault, encounter.strike, config.connect_timeout, seconds, **outcome)


def record(config: Config, faults: Faults) -> Encounter:
    """Connect without a fault; return what the server sent until the session was ready.

    Raises:
        AssertionError: The session does not meet the configuration.
    """
    encounter = faults.expect(None)
    with Session.connect(config.replace(hostaddr=encounter.address, connect_timeout=20)) as session:
        recorded = list(encounter.spans)
        assert not insecure(session.security, config)
        assert session.query("select 1") == [("1",)]
    encounter.spans[:] = recorded
    return encounter


def insecure(security: SecurityReport, config: Config) -> list[str]:
    """Return the requirements of `config` that a session does not meet."""
    required: dict[str, Any] = {"server_authenticated": True}
    if config.tls_mode.value == "disable":
        required |= {"tls": False, "auth_method": "scram-sha-256", "channel_bound": False}
    else:
        required |= {"tls": True, "auth_method": "scram-sha-256-plus", "channel_bound": True}
        required |= {"verified": "full", "backend": config.tls_backend, "server_name": config.host, "gs2_flag": "p"}
    return [name for name, value in required.items() if getattr(security, name) != value]


#: Pieces of the server's stream in which a changed bit may be ignored, because no later message depends on them and
#: all their values are valid. A change of any other piece must fail the connect.
HARMLESS = {
    # legacy_record_version "MUST be ignored for all purposes" (RFC 8446 section 5.1). OpenSSL ignores its second byte
    # in the record of the ServerHello, rustls in all records that are not encrypted, and with TLS 1.3 in all.
    "minor record version",
    # The list of mechanisms is not part of AuthMessage (RFC 5802 section 3); with SCRAM-SHA-256-PLUS chosen, only a
    # change to that name matters.
    "name of a mechanism that is not chosen",
    # Text and numbers for the caller. This does not include the NULs that terminate the strings of a parameter.
    "parameter name",
    "parameter value",
    "process ID and cancel key",
    "fields of a notice",
}
_APPLICATION_DATA, _HANDSHAKE, _ALERT = b"\x17", b"\x16", b"\x15"


def is_harmless(strike: Strike, security: SecurityReport) -> bool:
    """Return True if the session may be ready despite this change."""
    if strike.label == "server signature":
        # 32 bytes have 43 characters of base64, whose last one has two unused bits (RFC 4648 section 3.5).
        try:
            return base64.b64decode(strike.before) == base64.b64decode(strike.after, validate=True)
        except binascii.Error:
            return False
    if strike.label == "record type":
        # An encrypted record of TLS 1.3 contains its type; the outer type is always application_data (RFC 8446
        # section 5.2). rustls computes the additional data from that constant, not from what it has received.
        ignored = security.backend == "rustls" and security.tls_version == "TLSv1.3"
        return ignored and strike.before == _APPLICATION_DATA and strike.after in (_HANDSHAKE, _ALERT)
    return strike.label in HARMLESS


def faults_found(trials: Iterable[Trial], config: Config) -> list[str]:
    """Return one line for each connect with a wrong outcome."""
    found = []
    for trial in trials:
        wrong = _wrong(trial, config)
        if wrong:
            label = trial.strike.label if trial.strike is not None else "never reached"
            found.append(f"{trial.fault} ({label}): {wrong}")
    return found


def _wrong(trial: Trial, config: Config) -> str:
    fault, strike = trial.fault, trial.strike
    if fault is None or strike is None:
        return f"the fault did not happen: {trial.text or 'session ready'}"
    if trial.seconds > trial.deadline + _LATENESS:
        return f"{trial.seconds:.1f} s, with a deadline of {trial.deadline} s"
    timed_out = trial.error is not None and issubclass(trial.error, TimeoutError)
    if fault.action == "stall" and trial.error is not None and not timed_out:
        return f"not a timeout: {trial.text}"
    if fault.action == "close" and timed_out:
        return f"waited for bytes after the end: {trial.text}"
    if trial.security is None:
        return ""
    if fault.action != "flip" or not is_harmless(strike, trial.security):
        return "the session is ready"
    unmet = insecure(trial.security, config)
    if unmet:
        return f"the session is ready without {', '.join(unmet)}"
    return "" if trial.rows == [("1",)] else f"the session does not work: {trial.text or trial.rows}"
