"""Connect with the URL of a hosting provider, as it is shown in the provider's console.

    DATABASE_URL='postgresql://user:password@host/db?sslmode=require&channel_binding=require' python neon_url.py

``sslmode=require`` encrypts and does not verify the certificate. ``channel_binding=require`` detects a man in the
middle, because SCRAM is bound to the TLS connection. To verify the certificate as well, pass ``tls_verify="full"``.
"""

import asyncio
import os

from babar_tls.integrations import asyncpg
from babar_tls.integrations.sqlalchemy import create_engine

URL = os.environ["DATABASE_URL"]


async def main() -> None:
    """Connect with asyncpg."""
    connection = await asyncpg.connect(URL)
    try:
        proof = connection.security
        print("asyncpg:", await connection.fetchval("select current_user"), proof.tls_version, proof.auth_method)
    finally:
        await connection.close()


asyncio.run(main())

engine = create_engine(URL)
with engine.connect() as connection:
    proof = connection.connection.driver_connection.security
    print(
        "SQLAlchemy:", connection.exec_driver_sql("select current_user").scalar(), proof.tls_version, proof.auth_method
    )
engine.dispose()
