"""The models, and a query with them."""

import asyncio
import sys

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """The base class of the models."""


class Customer(Base):
    """A customer."""

    __tablename__ = "customers"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


async def main(url: str) -> int:
    """Add a customer, and return how many there are."""
    engine = create_async_engine(url)
    async with AsyncSession(engine) as session:
        session.add(Customer(name="Babar"))
        await session.commit()
        count = await session.scalar(select(func.count()).select_from(Customer))
    await engine.dispose()
    return count or 0


if __name__ == "__main__":
    print(asyncio.run(main(sys.argv[1])))
