"""The checks that every TLS backend passes: `check_backend`.

::

    from babar_tls.testing import check_backend

    print(check_backend(MyBackend, raising=False))

They need neither pytest nor PostgreSQL: the other end of each connection is the standard library's `ssl` in memory, or
a TLS 1.3 server in Python that does what a library's server cannot be made to do. A check is a function of assert
statements in the module of its subject; its docstring is the sentence that it proves. A backend is checked as it is
used, under `TlsConnection`. What its `Capabilities` state is checked; what they exclude is not applicable.

Each check runs in a process of its own, so that a backend that hangs, in Python or in C, or crashes, is reported, and
the other checks are run.
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
