"""Stage ``dns``: look up the name of the host."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

from ..errors import Unreachable
from ..net.deadline import Meter, timeout_error
from ..net.interruption import Interruption
from ..net.sockets import literal_address, look_up, shown_address, unix_address
from ..protocol.requests import Phase
from .case import Skipped
from .causes import Cause

if TYPE_CHECKING:
    from .case import Case, Notes

#: Numbers of ``getaddrinfo`` for a name that has no address (RFC 3493 §6.1). The others are failures of the service.
_NO_ADDRESS = {getattr(socket, name) for name in ("EAI_NONAME", "EAI_NODATA") if hasattr(socket, name)}
_NAME_SERVICE = (
    "The DNS servers of this machine (on Linux those in /etc/resolv.conf) do not answer, or answer with an error. "
    "Check the network and the resolver. hostaddr=ADDRESS connects without name resolution."
)


def look_up_name(case: Case, notes: Notes) -> None:
    """Find all addresses of the host."""
    host = case.host
    if host.is_unix_socket:
        case.addresses = [unix_address(host)]
        raise Skipped("a Unix-domain socket has no name to look up")
    literal = literal_address(host)
    if literal is not None:
        case.addresses = [literal]
        raise Skipped("hostaddr is set" if host.hostaddr else "the host is an address")
    began = time.perf_counter()
    try:
        found = look_up(host, Meter(case.timeout).remaining(Phase.RESOLVE), Interruption())
        if found is None:
            raise timeout_error(Phase.RESOLVE)
    except Unreachable as error:
        is_unknown = error.errno is None or error.errno in _NO_ADDRESS
        if is_unknown:
            notes.fail(error, Cause.UNKNOWN_HOST)
        else:
            notes.fail(error, Cause.NAME_SERVICE, _NAME_SERVICE)
        return
    milliseconds = (time.perf_counter() - began) * 1000
    case.addresses = list(dict.fromkeys(found))
    listed = ", ".join(shown_address(info[4]) for info in case.addresses)
    notes.observe(f"{host.host} has the addresses {listed} ({milliseconds:.1f} ms)")
