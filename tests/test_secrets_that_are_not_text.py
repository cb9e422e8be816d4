"""Secrets that cannot be encoded or decoded. A UnicodeError contains the whole text, so no error may lead to one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from babar_tls import Config, ConfigError
from babar_tls.crypto import saslprep
from babar_tls.explain.foreign_urls import translate
from babar_tls.protocol.messages import query

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = "hunter2"


def chain(error: BaseException | None) -> list[BaseException]:
    """Return an error with its causes and contexts, also those that a traceback does not show."""
    return [] if error is None else [error, *chain(error.__cause__), *chain(error.__context__)]


def parse(text: str) -> Callable[[], object]:
    return lambda: Config.from_conninfo(text, environ={})


@pytest.mark.parametrize(
    "use",
    [
        lambda: Config(user="u", password=f"{SECRET}\ud800"),
        lambda: Config(user="u", tls_client_key_password=f"{SECRET}\udcff"),
        lambda: saslprep(f"{SECRET}\udcff"),
        lambda: query(f"alter role u password '{SECRET}\udcff'"),
        lambda: translate(f"postgresql+asyncpg://u:{SECRET}\udcff@h/"),
        lambda: translate(f"jdbc:postgresql://h/?password={SECRET}%ff"),
        lambda: Config.from_conninfo("", environ={"PGPASSWORD": f"{SECRET}\ud800"}),
        parse(f"user=u password={SECRET}\ud800"),
        parse(f"user=u sslpassword={SECRET}\ud800"),
        parse(f"user=u scram_client_key={SECRET}\udcff"),
        parse(f"postgresql://u:{SECRET}%ff@h/"),
        parse(f"postgresql://u:{SECRET}\udcff@h/"),
        parse(f"postgresql://u@h/?sslpassword={SECRET}%ff"),
    ],
)
def test_secret_that_is_not_text_is_in_no_exception(use: Callable[[], object]) -> None:
    with pytest.raises(ConfigError) as caught:
        use()
    for error in chain(caught.value):
        assert SECRET not in f"{error} {error!r} {vars(error)}"
