"""The checks that every TLS backend must pass: `check_backend`.

::

    from babar_tls.testing import check_backend

    print(check_backend(MyBackend, raising=False))

The checks need neither pytest nor PostgreSQL. The server is the standard library's `ssl` in memory, or a TLS 1.3 server
in Python for behaviour that a library's server does not have. A check is a function of assert statements in the module
of its subject; its docstring states what it proves. The backend is used as in production, under `TlsConnection`. What
its `Capabilities` state is checked; what they exclude is not applicable.

Each check runs in its own process. A backend that hangs, in Python or in C, or crashes, is reported, and the other
checks run.
"""

from __future__ import annotations

import babar_tls.testing.certificates  # noqa: F401 - names the missing extra if cryptography is not installed

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
