"""Host names that have no address."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from babar_tls import Config, Session, Unreachable


@pytest.mark.parametrize(
    ("host", "remedy"),
    [
        ("db.example.com:5432", "Set the port separately"),
        ("db.example.com:", "Set the port separately"),
        ("https://db.example.com", "only the name of the server"),
        ("db example", "only the name of the server"),
        ("db.example.com", "Check the spelling"),
    ],
)
def test_remedy_names_what_does_not_belong_to_a_host_name(
    host: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(Unreachable, match="could not translate host name") as caught:
        Session.connect(Config(host=host))
    assert remedy in (caught.value.remedy or "")
