"""Real servers, real certificates and misbehaving peers, for testing any PostgreSQL driver.

::

    from babar_tls.testing import PostgresServer

    with PostgresServer(roles={"app": "secret"}) as server:
        psycopg.connect(server.conninfo(user="app", password="secret"))

* `PostgresServer`: a PostgreSQL of your own, with TLS, in a temporary folder, gone without a trace afterwards.
* `PgBouncer`: a pooler before it, which ends TLS.
* `CertificateAuthority`, `ServerCertificate`: certificates of any key, signature, validity and name.
* `ScriptedServer`, `ScriptedPeer`: a server that says exactly what your script says.
* `TlsInterceptor`: a man in the middle.
* `ScramServer`: a server that binds by every registered type, as PostgreSQL does not.
* `check_backend`: checks that a TLS backend keeps the contract

The names are resolved when first used, so importing this package costs nothing and needs nothing; using them needs
``pip install 'babar-tls[demo]'``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from babar_tls.testing.backend_checks import (
        BackendCheckError,
        BackendReport,
        CheckOutcome,
        CheckResult,
        check_backend,
    )
    from babar_tls.testing.certificates import CertificateAuthority, ServerCertificate
    from babar_tls.testing.interceptor import TlsInterceptor
    from babar_tls.testing.peers import PeerDisconnected, ScriptedPeer, ScriptedServer
    from babar_tls.testing.pgbouncer import PgBouncer
    from babar_tls.testing.postgres import PostgresError, PostgresServer, PostgresStartError, Role
    from babar_tls.testing.scram_server import ScramServer

__all__ = [
    "BackendCheckError",
    "BackendReport",
    "CertificateAuthority",
    "CheckOutcome",
    "CheckResult",
    "PeerDisconnected",
    "PgBouncer",
    "PostgresError",
    "PostgresServer",
    "PostgresStartError",
    "Role",
    "ScramServer",
    "ScriptedPeer",
    "ScriptedServer",
    "ServerCertificate",
    "TlsInterceptor",
    "check_backend",
]

_HOMES = {
    "BackendCheckError": "backend_checks",
    "BackendReport": "backend_checks",
    "CertificateAuthority": "certificates",
    "CheckOutcome": "backend_checks",
    "CheckResult": "backend_checks",
    "PeerDisconnected": "peers",
    "PgBouncer": "pgbouncer",
    "PostgresError": "postgres",
    "PostgresServer": "postgres",
    "PostgresStartError": "postgres",
    "Role": "postgres",
    "ScramServer": "scram_server",
    "ScriptedPeer": "peers",
    "ScriptedServer": "peers",
    "ServerCertificate": "certificates",
    "TlsInterceptor": "interceptor",
    "check_backend": "backend_checks",
}


def __getattr__(name: str) -> Any:
    """Imports the module behind a public name when the name is first asked for."""
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
