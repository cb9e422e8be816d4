"""Establish a session: try one host after the other with the blocking driver."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, NamedTuple

from ..config.enums import TlsVerify
from ..errors import Error, InvalidPassword
from ..protocol.handshake import handshake
from ..protocol.hosts import search
from ..protocol.negotiation import server_name
from ..security import SecurityReport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..config import Config
    from ..protocol.handshake import Established
    from .blocking import BlockingConnection, Connector
    from .deadline import Meter


class Ready(NamedTuple):
    """A session that is ready, and the connection that it runs on.

    Attributes:
        connection: The connection to the host that was chosen.
        established: The state of the protocol.
        security: The security report.
    """

    connection: BlockingConnection
    established: Established
    security: SecurityReport


def establish(
    config: Config,
    meter: Meter,
    connect: Connector,
    *,
    startup: Sequence[tuple[str, str]] = (),
    fetched: str | bytes | None = None,
) -> Ready:
    """Connect to the hosts of `config` in turn, until a session is ready.

    Args:
        config: The configuration.
        meter: The clock of the connect, which is running.
        connect: Creates the connection for one host.
        startup: Startup parameters, which replace those of the configuration on every host.
        fetched: The password that the callable in `config.password` has returned.

    Raises:
        ConfigError: `startup` is invalid, or contradicts the configuration.
        Error: The failure of the last attempt.
    """
    candidates = search(config)
    candidate = next(candidates)
    while True:
        connection = connect(_with_password(candidate.config, fetched), meter)
        try:
            established = connection.drive(handshake(connection.config, candidate.wanted, startup))
            connection.keep_keys()
            verified = established.verified is not TlsVerify.NONE or established.pin is not None
            connection.learn_group(verified=verified)
            connection.config = candidate.config  # without the password of this connect
            return Ready(connection, established, _report(connection, established))
        except Error as error:
            connection.close()
            password = connection.config.password
            if isinstance(error, InvalidPassword) and password not in (None, candidate.config.password):
                source = "a callable" if callable(config.password) else f'file "{config.passfile}"'
                error.remedy = f"password retrieved from {source}\n{error.remedy}"
            candidate = candidates.throw(error)
            meter.restart(config.connect_timeout)
        except BaseException:
            connection.close()
            raise


def _with_password(config: Config, fetched: str | bytes | None) -> Config:
    """Return the configuration with the password that was fetched, or with that from its password file, if any.

    SCRAM keys of a fetched password are not stored. The next password is another one, so that they would only fill the
    cache, and a token must not outlive its connect.
    """
    if callable(config.password):
        return config.replace(password=fetched, passfile=None, scram_key_cache=False)
    if config.passfile is None or config.password is not None or config.scram_client_key is not None:
        return config
    password = config.find_password()
    return config if password is None else config.replace(password=password)


def _report(connection: BlockingConnection, established: Established) -> SecurityReport:
    facts, authenticated, meter = established.facts, established.authenticated, connection.meter
    tls: dict[str, Any] = {}
    if facts is not None and connection.backend is not None:
        certificate, roots = facts.peer_certificate, facts.trusted_roots
        tls = {
            "backend": connection.backend.name,
            "backend_version": connection.backend.capabilities.version,
            "tls_version": facts.version,
            "cipher": facts.cipher,
            "group": facts.group,
            "alpn": facts.alpn,
            "server_name": server_name(connection.config),
            "peer_certificate": certificate,
            "peer_fingerprint_sha256": hashlib.sha256(certificate).hexdigest(),
        }
        if roots is not None:
            tls["trusted_roots"], tls["trusted_anchors"] = roots.sources, roots.anchors
    return SecurityReport(
        tls=facts is not None,
        negotiation=established.negotiation,
        verified=established.verified.value,
        pin=established.pin,
        auth_method=authenticated.method,
        gs2_flag=authenticated.gs2_flag,
        channel_binding_type=authenticated.channel_binding_type,
        channel_binding_hash=authenticated.channel_binding_hash,
        scram_iterations=authenticated.scram_iterations,
        server_authenticated=authenticated.server_authenticated,
        round_trips=meter.round_trips,
        timings=meter.timings.copy(),
        **tls,
    )
