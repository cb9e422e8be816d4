"""What `repr` shows of a configuration and of a backend: what differs from the defaults, and no secret."""

from __future__ import annotations

from typing import Any

import pytest

from babar_tls import Config, Host
from babar_tls.backends import get_backend
from babar_tls.config.fields import SECRETS


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "Config(host='localhost', user='u')"),
        ({"host": "db", "port": "5433"}, "Config(host='db', port=5433, user='u')"),
        ({"tls_verify": "ca", "tls_max_version": "TLSv1.3"}, "'u', tls_verify='ca', tls_max_version='TLSv1.3')"),
        ({"hosts": [Host("a"), Host("b", 5433)]}, "Config(hosts=(Host('a'), Host('b', 5433)), user='u')"),
        ({"server_settings": {"a": "1"}}, "server_settings=(('a', '1'),)"),
        ({"password": "s3cret"}, "'u', password=***)"),
        ({"password": lambda: "s3cret"}, "'u', password=***)"),
        ({"tls_client_cert": "/c", "tls_client_key": "/k"}, "tls_client_cert='/c', tls_client_key='/k')"),
        ({"tls_client_cert": b"s3cret", "tls_client_key": b"s3cret"}, "tls_client_cert=***, tls_client_key=***)"),
        ({"tls_client_key_password": "s3cret"}, "tls_client_key_password=***)"),
        ({"scram_client_key": b"s" * 32, "scram_server_key": b"s" * 32}, "scram_client_key=***, scram_server_key=***)"),
    ],
)
def test_repr_of_config_shows_what_is_not_the_default(fields: dict[str, Any], text: str) -> None:
    shown = repr(Config(user="u", **fields))
    assert text in shown
    assert "s3cret" not in shown


def test_repr_of_config_can_be_evaluated_if_it_has_no_secret() -> None:
    config = Config(
        user="u", database="d'b", hosts=[Host("a"), Host("b", 1, "::1")], tls_mode="prefer", tls_groups="x25519"
    )
    assert eval(repr(config), {"Config": Config, "Host": Host}) == config  # noqa: S307 - the text of a configuration


def test_secret_fields() -> None:
    assert {
        *("password", "scram_client_key", "scram_server_key"),
        *("tls_client_cert", "tls_client_key", "tls_client_key_password"),
    } == SECRETS


def test_repr_of_host() -> None:
    assert repr(Host("a")) == "Host('a')"
    assert repr(Host("a", "5433", "192.0.2.1")) == "Host('a', 5433, hostaddr='192.0.2.1')"


def test_repr_of_backend_names_its_library() -> None:
    backend = get_backend("stdlib")
    assert repr(backend) == f"<StdlibBackend 'stdlib', {backend.capabilities.version}>"
    assert f"tls_backend={backend!r}" in repr(Config(user="u", tls_backend=backend))
