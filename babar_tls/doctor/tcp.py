"""Stage ``tcp``: connect to each address separately."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ..config.host import Host
from ..diagnostics.counts import count
from ..errors import Error, IoError, TimeoutError
from ..net.deadline import Meter
from ..net.sockets import shown_address
from ..protocol.requests import Connect
from .case import Skipped, run
from .causes import Cause
from .classify import describe, find_cause

if TYPE_CHECKING:
    from ..protocol.requests import Exchange
    from .case import Case, Notes

_MOST = 16  # addresses of a name that are tried, unless none of them accepts connections

#: Remedies, by the causes that they are for. If the addresses fail for several causes, the first of these is named.
_REMEDIES = {
    Cause.CONNECTION_REFUSED: "No process listens on this port of the address. Check the port, that the server runs, "
    "and its listen_addresses. A firewall may also refuse connections.",
    Cause.NO_RESPONSE: "A firewall drops the packets, or the host is down. Check the address, the rules of the "
    "firewall or security group, and whether a VPN is needed. Raise connect_timeout only if the network is slow.",
    Cause.UNREACHABLE: "This machine has no route to the address. Check the network and the VPN.",
}
_NO_SOCKET = "Check that the server runs, and that host is one of its unix_socket_directories."
_SOME_FAIL = (
    "A connection tries the addresses in turn, so that each connect may lose time. Make the server listen on all "
    "addresses of the name (listen_addresses), correct the name, or set hostaddr."
)


def connect_to_each(case: Case, notes: Notes) -> None:
    """Try each address, and remember the first that accepts connections."""
    if not case.addresses:
        raise Skipped("the host has no address")
    if case.host.is_unix_socket:
        _connect_locally(case, notes)
        return
    failures = _try_addresses(case, notes)
    if not failures:
        return
    if case.reached is not None:
        text = f"some addresses of {case.host.host} do not accept connections: {', '.join(failures)}"
        notes.warn(Cause.SOME_ADDRESSES_FAIL, text, _SOME_FAIL)
        return
    first = next(iter(failures.values()))
    causes = set(map(find_cause, failures.values()))
    cause = next((one for one in _REMEDIES if one in causes), find_cause(first))
    listed = "; ".join(f"{address}: {describe(error)}" for address, error in failures.items())
    text = f"{case.host.host}, port {case.host.port}, accepts no connections ({listed})"
    notes.fault(cause, text, _REMEDIES.get(cause) or first.remedy)


def _try_addresses(case: Case, notes: Notes) -> dict[str, IoError]:
    """Connect to each address; return the errors by address. An address that drops packets leaves time for others.

    As in a connect, all addresses are tried if necessary.
    """
    meter = Meter(case.timeout)
    failures: dict[str, IoError] = {}
    left = len(case.addresses)
    for number, info in enumerate(case.addresses):
        if number >= _MOST and case.reached is not None:
            break
        address = shown_address(info[4])
        began = time.perf_counter()
        try:
            seconds = meter.share(left)
        except TimeoutError:
            break
        left -= 1
        try:
            _connect(case, address, seconds)
        except IoError as error:
            failures[address] = error
            if number < _MOST:
                notes.observe(f"{address}, port {case.host.port}: {describe(error)} ({_elapsed(began)})")
            continue
        notes.observe(f"{address}, port {case.host.port}: connected ({_elapsed(began)})")
        if case.reached is None:
            case.reached = Host(case.host.host, case.host.port, address)
    if left:
        notes.observe(f"Not tried: {count(left, 'other address', 'other addresses')}")
    return failures


def _connect_locally(case: Case, notes: Notes) -> None:
    began = time.perf_counter()
    try:
        run(case.config.without_password(), _connect_only(case.host), Meter(case.timeout))
    except Error as error:  # AuthError: the process of another user listens there
        notes.observe(f"{case.host.shown_path}: {describe(error)}")
        cause = find_cause(error)
        remedy = _NO_SOCKET if cause in _REMEDIES else error.remedy
        notes.fault(cause, f'no connection to the socket "{case.host.shown_path}": {describe(error)}', remedy)
        return
    case.reached = case.host
    notes.observe(f"{case.host.shown_path}: connected ({_elapsed(began)})")


def _connect(case: Case, address: str, seconds: float | None) -> None:
    where = Host(case.host.host, case.host.port, address)
    run(case.config.replace(hostaddr=address).without_password(), _connect_only(where), Meter(seconds))


def _connect_only(where: Host) -> Exchange[None]:
    yield Connect(where)


def _elapsed(began: float) -> str:
    return f"{(time.perf_counter() - began) * 1000:.1f} ms"
