"""Uses that type checkers must accept without an error, in strict mode. Most are from README.md and docs."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Unpack, assert_type

import babar_tls
from babar_tls import (
    AsyncSession,
    CertificateError,
    ChannelBinding,
    Config,
    ConfigError,
    ConfigOptions,
    ConnectEvent,
    Error,
    Host,
    InvalidPassword,
    IoError,
    LoadBalanceHosts,
    ProtocolVersion,
    SecureStream,
    SecurityReport,
    ServerError,
    Session,
    TargetSessionAttrs,
    TimeoutError,
    TlsBackend,
    TlsMode,
    TlsNegotiation,
    TlsVerify,
    TlsVersion,
    available_backends,
    connect,
    connect_async,
    on_connect,
)
from babar_tls.backends import Capabilities, TlsMaterial, TlsParameters, TlsStream, get_backend
from babar_tls.conninfo import interpret, resolve
from babar_tls.crypto import ScramKeys, scram_keys, scram_verifier
from babar_tls.doctor import Diagnosis, diagnose
from babar_tls.doctor.html import render
from babar_tls.telemetry import instrument

DSN = "postgresql://billing@db.example.com/ledger?sslmode=verify-full&sslrootcert=system&channel_binding=require"


def configure() -> Config:
    config = Config(
        host="db.example.com",
        port="5432",
        user="billing",
        password="correct horse",
        database="ledger",
        tls_mode="require",
        tls_verify=TlsVerify.FULL,
        tls_root_cert_path=Path("our-ca.pem"),
        tls_default_roots=False,
        tls_backend="openssl",
        tls_groups="x25519:secp256r1",
        tls_ciphers=["TLS_AES_256_GCM_SHA384"],
        tls_pins=[f"sha256:{'0' * 64}"],
        tls_client_cert=b"-----BEGIN CERTIFICATE-----",
        tls_client_key=Path("client.key"),
        tls_client_key_password=lambda: "secret",
        tls_max_version="TLSv1.3",
        channel_binding=ChannelBinding.REQUIRE,
        channel_binding_type="tls-exporter",
        server_settings={"search_path": "x"},
        connect_timeout=3,
        max_protocol_version="latest",
        target_session_attrs="read-write",
        load_balance_hosts="random",
    )
    assert_type(config.host, str)
    assert_type(config.port, int)
    assert_type(config.hosts, tuple[Host, ...])
    assert_type(config.user, str)
    assert_type(config.database, str | None)
    assert_type(config.tls_mode, TlsMode)
    assert_type(config.tls_verify, TlsVerify)
    assert_type(config.tls_negotiation, TlsNegotiation)
    assert_type(config.tls_backend, str | TlsBackend)
    assert_type(config.tls_root_cert_path, str | None)
    assert_type(config.tls_client_cert, str | bytes | None)
    assert_type(config.tls_groups, tuple[str, ...])
    assert_type(config.tls_pins, tuple[str, ...])
    assert_type(config.tls_max_version, TlsVersion | None)
    assert_type(config.server_settings, tuple[tuple[str, str], ...])
    assert_type(config.connect_timeout, float | None)
    assert_type(config.max_protocol_version, ProtocolVersion)
    assert_type(config.target_session_attrs, TargetSessionAttrs)
    assert_type(config.load_balance_hosts, LoadBalanceHosts)
    assert_type(config.targets, tuple[Host, ...])
    return config.replace(port=6432, tls_root_cert_path=None, server_settings=[("work_mem", "64MB")])


def from_strings(environ: dict[str, str]) -> list[Config]:
    hosts = [Host("a.example.com"), Host("b.example.com", "5433"), Host("c", hostaddr="192.0.2.1")]
    return [
        Config.from_conninfo("service=billing", connect_timeout=3),
        Config.from_conninfo(
            environ["URL"], allow_files=False, tls_server_name=None, tls_mode="require", tls_pins=(), require_auth=None
        ),
        Config.from_conninfo("", environ=environ, hosts=hosts),
        Config(hosts=hosts, tls_mode=TlsMode(environ["MODE"]), tls_min_version=TlsVersion.TLSV1_3),
    ]


def pass_on(**overrides: Unpack[ConfigOptions]) -> Session:
    overrides.setdefault("application_name", "shop")
    return connect("service=shop", **overrides)


class ShopConfig(Config):
    def has_replica(self) -> bool:
        return len(self.targets) > 1


def subclass() -> bool:
    config = ShopConfig.from_conninfo("service=shop").replace(port=6432)
    assert_type(config, ShopConfig)
    assert_type(config.at(config.targets[0]), ShopConfig)
    assert_type(config.without_password(), Config)
    assert_type(config.without_secrets(), Config)
    return config.has_replica()


async def token() -> str:
    return "token"


def blocking(config: Config) -> str | None:
    with Session.connect(config) as session:
        assert_type(session, Session)
        assert_type(session.security, SecurityReport)
        assert_type(session.params["server_version"], str)
        proof = session.security
        assert_type(proof.tls_version, str | None)
        assert_type(proof.channel_bound, bool)
        print(proof.cipher, proof.verified, proof.server_name, proof.auth_method, proof.timings["tls"], proof.as_dict())
        assert_type(session.query("select current_user"), list[tuple[str | None, ...]])
        ((user,),) = session.query("select current_user")
        copy = session.copy_to("COPY t TO STDOUT")
        assert_type(copy, Iterator[bytes])
        print(b"".join(copy), session.host.describe(), session.backend_pid)
        session.cancel()
    stream = connect("host=db").detach()
    assert_type(stream, SecureStream)
    return user


async def asynchronous() -> None:
    async with await connect_async(DSN, password="correct horse") as session:
        assert_type(session, AsyncSession)
        print(await session.query("select 1"), session.security.as_dict())
        copy = session.copy_to("COPY t TO STDOUT")
        assert_type(copy, AsyncIterator[bytes])
        async for data in copy:
            assert_type(data, bytes)
        await session.cancel()
    other = await AsyncSession.connect(Config(password=token))
    await other.close()


def errors(config: Config) -> str:
    try:
        Session.connect(config)
    except InvalidPassword as error:
        assert_type(error.code, str)
        return error.message
    except ServerError as error:
        assert_type(error.detail, str | None)
        return error.severity
    except CertificateError as error:
        return str(error.remedy)
    except (TimeoutError, IoError) as error:
        return str(error.errno)
    except ConfigError as error:
        assert_type(error.remedy, str | None)
    except Error as error:
        return error.message
    return babar_tls.__version__


def observe() -> None:
    def show(event: ConnectEvent) -> None:
        assert_type(event.security, SecurityReport | None)
        print(event.host, event.error, event.duration, event.timings.get("tls"))

    remove = on_connect(show)
    remove()
    undo = instrument(child_spans=True)
    undo()


def find_the_cause() -> str:
    diagnosis = diagnose(DSN, overrides={"connect_timeout": 3})
    assert_type(diagnosis, Diagnosis)
    if diagnosis.fault is not None:
        print(diagnosis.fault.cause, diagnosis.fault.text, diagnosis.fault.remedy)
    return render(diagnosis)


def backends() -> None:
    for name in available_backends():
        capabilities = get_backend(name).capabilities
        assert_type(capabilities, Capabilities)
        print(capabilities.version, [version.value for version in capabilities.tls_versions], capabilities.fips)


class MyBackend(TlsBackend):
    name = "mine"
    capabilities = Capabilities(version="1.0", tls_versions=[TlsVersion.TLSV1_3])

    def create_context(self, parameters: TlsParameters, material: TlsMaterial) -> object:
        return parameters.is_verified, material.roots

    def create_stream(
        self, context: object, sni: str | None, check_leaf: Callable[[bytes], CertificateError | None]
    ) -> TlsStream:
        raise NotImplementedError


def conversions(config: Config) -> None:
    field = interpret(resolve("sslmode=verify-full"))["tls_root_cert_path"]
    print(field.value, field.keyword, field.source)
    assert_type(config.to_conninfo(), str)
    assert_type(config.to_libpq(160004), dict[str, str])
    keys = scram_keys("secret", os.urandom(16), 4096)
    assert_type(keys, ScramKeys)
    print(scram_verifier("secret"), Config(scram_client_key=keys.client_key, scram_server_key=keys.server_key))


def accepts_callable(source: Callable[[], Awaitable[str]]) -> Config:
    return Config(password=source)
