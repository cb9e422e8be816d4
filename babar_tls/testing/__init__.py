"""Real servers, real certificates and misbehaving peers, for testing any PostgreSQL driver.

::

    from babar_tls.testing import PostgresServer

    with PostgresServer(roles={"app": "secret"}) as server:
        psycopg.connect(server.conninfo(user="app", password="secret"))

* `PostgresServer`: a PostgreSQL server with TLS in a temporary folder, which is removed afterwards.
* `PgBouncer`: a pooler in front of it, which terminates TLS.
* `CertificateAuthority`, `ServerCertificate`: certificates with any key, signature, validity and name.
* `ScriptedServer`, `ScriptedPeer`: a server that sends what a function of the test sends.
* `TlsInterceptor`: a man in the middle.
* `ScramServer`: a server that supports every registered channel-binding type.
* `check_backend`: checks of a TLS backend against the contract.

A name is imported when it is first used. Importing this package therefore needs no optional dependency; using the names
needs ``pip install 'babar-tls[demo]'``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from babar_tls.testing.backend_checks import *
    from babar_tls.testing.certificates import CertificateAuthority as CertificateAuthority
    from babar_tls.testing.certificates import ServerCertificate as ServerCertificate
    from babar_tls.testing.interceptor import TlsInterceptor as TlsInterceptor
    from babar_tls.testing.peers import PeerDisconnected as PeerDisconnected
    from babar_tls.testing.peers import ScriptedPeer as ScriptedPeer
    from babar_tls.testing.peers import ScriptedServer as ScriptedServer
    from babar_tls.testing.pgbouncer import PgBouncer as PgBouncer
    from babar_tls.testing.postgres import *
    from babar_tls.testing.scram_server import ScramServer as ScramServer

_MODULES = {
    "backend_checks": ("BackendCheckError", "BackendReport", "CheckOutcome", "CheckResult", "check_backend"),
    "certificates": ("CertificateAuthority", "ServerCertificate"),
    "interceptor": ("TlsInterceptor",),
    "peers": ("PeerDisconnected", "ScriptedPeer", "ScriptedServer"),
    "pgbouncer": ("PgBouncer",),
    "postgres": ("PostgresError", "PostgresServer", "PostgresStartError", "Role"),
    "scram_server": ("ScramServer",),
}
__all__ = [name for names in _MODULES.values() for name in names]


if not TYPE_CHECKING:  # with this function, type checkers would accept every name

    def __getattr__(name: str) -> Any:
        """Import the module of a public name when the name is first used."""
        for module, names in _MODULES.items():
            if name in names:
                globals()[name] = value = getattr(importlib.import_module(f"{__name__}.{module}"), name)
                return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
