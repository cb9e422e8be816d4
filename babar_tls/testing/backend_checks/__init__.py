"""The checks that every TLS engine passes: `check_backend`.

::

    from babar_tls.testing import check_backend

    print(check_backend(MyBackend(), raising=False))

Without pytest, without PostgreSQL: the other end of each connection is the standard library's `ssl` in memory, or a
TLS 1.3 server of our own that can do what no library's server does. A check is a function in the module of its subject;
its docstring is the sentence that it proves. Where the engine's `Capabilities` say that it can do something, it is
checked that it does; where they say that it cannot, that it refuses.

An engine that never finishes a handshake, loops or waits is reported. What no check in the same process can bound is an
engine that loops in C without releasing the interpreter's lock.
"""

from __future__ import annotations

# In the order in which they run.
# isort: off
from babar_tls.testing.backend_checks import (
    contract,
    handshake,
    data,
    closing,
    hostile,
    keys,
    certificates,
    names,
    facts,
    files,
    endurance,
)

# isort: on
from babar_tls.testing.backend_checks._report import BackendCheckError, BackendReport, CheckOutcome, CheckResult
from babar_tls.testing.backend_checks._runner import check_backend

__all__ = ["BackendCheckError", "BackendReport", "CheckOutcome", "CheckResult", "check_backend"]

del contract, handshake, data, closing, hostile, keys, certificates, names, facts, files, endurance
