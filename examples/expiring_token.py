"""Log in with a password that expires: a token, as for AWS RDS (IAM), Azure Database and Google Cloud SQL.

`TokenIssuer` replaces the cloud provider. The embedded server cannot verify signatures, so the issuer
sets the role's password to each token, with its lifetime. With AWS the function would be::

    rds = boto3.client("rds", config=botocore.config.Config(connect_timeout=3, read_timeout=3))

    def password():
        return rds.generate_db_auth_token(DBHostname=host, Port=5432, DBUsername="app")

Run it with ``python examples/expiring_token.py``; it needs the extra ``demo``.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import UTC, datetime, timedelta

from babar_tls import Session
from babar_tls.testing import PostgresServer

#: As with RDS, the server requests the password itself (PAM). It is sent only inside TLS to a verified server.
HBA = ["hostssl all app all password", "host all postgres all scram-sha-256"]


class TokenIssuer:
    """Sign tokens for the role ``app``.

    Args:
        server: The server that accepts the tokens.
        lifetime: The time for which a token can be used to log in. A session that is open is not affected.
    """

    def __init__(self, server: PostgresServer, lifetime: timedelta = timedelta(minutes=15)) -> None:
        self._server = server
        self._lifetime = lifetime
        self._key = secrets.token_bytes(32)
        self.issued = 0

    def token(self) -> str:
        """Return a new token."""
        expires = (datetime.now(UTC) + self._lifetime).isoformat()
        signature = hmac.digest(self._key, f"app {expires} {self.issued}".encode(), hashlib.sha256).hex()
        token = f"app?expires={expires}&number={self.issued}&signature={signature}"
        self._server.sql(f"ALTER ROLE app PASSWORD '{token}' VALID UNTIL '{expires}'")
        self.issued += 1
        return token


def main() -> None:
    """Log in twice with the same configuration, and print the results."""
    with PostgresServer(roles={"app": None}, hba=HBA) as server:
        issuer = TokenIssuer(server)
        config = server.config(user="app", password=issuer.token)
        for _ in range(2):
            with Session.connect(config) as session:
                ((user,),) = session.query("select current_user")
                method = session.security.auth_method
                print(f"{user}, method {method}, tokens issued: {issuer.issued}")


if __name__ == "__main__":
    main()
