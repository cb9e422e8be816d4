"""A FastAPI application with a pool of verified, channel-bound asyncpg connections.

pip install 'babar-tls[asyncpg]' fastapi uvicorn
DATABASE_URL='postgresql://app:secret@localhost/shop?sslmode=verify-full&channel_binding=require' uvicorn app:app
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, Request

from babar_tls.integrations import asyncpg


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the pool when the application starts, and close it when the application ends."""
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=1, max_size=10) as app.state.pool:
        yield


async def get_connection(request: Request) -> AsyncIterator[asyncpg.Connection]:
    """Provide a connection for the duration of a request."""
    async with request.app.state.pool.acquire() as connection:
        yield connection


app = FastAPI(lifespan=lifespan)
Database = Annotated[asyncpg.Connection, Depends(get_connection)]


@app.get("/add/{left}/{right}")
async def add(left: int, right: int, connection: Database) -> int:
    """Let the database add two numbers."""
    return await connection.fetchval("select $1::int + $2::int", left, right)


@app.get("/security")
async def security(connection: Database) -> dict[str, object]:
    """Return how the connection to the database is protected."""
    return connection.security.as_dict()
