"""Establish a session: one host after the other, by the blocking driver."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..config.enums import TlsVerify
from ..errors import Error, InvalidPassword
from ..protocol.handshake import handshake
from ..protocol.hosts import search
from ..protocol.negotiation import server_name
from ..security import SecurityReport, security_report

if TYPE_CHECKING:
    from ..config import Config
    from ..protocol.handshake import Established
    from .blocking import BlockingConnection, Connector
    from .deadline import Meter


class Ready(NamedTuple):
    """A session that is ready, and the connection that it runs on.

    Attributes:
        connection: The connection, to the host that was accepted.
        established: The state of the protocol.
        security: The report.
    """

    connection: BlockingConnection
    established: Established
    security: SecurityReport


def establish(config: Config, meter: Meter, connect: Connector) -> Ready:
    """Connect to the hosts of `config` in turn, until a session is ready.

    Args:
        config: The configuration.
        meter: The clock of the connect, which is running.
        connect: Creates the connection for one host.

    Raises:
        Error: The failure of the last attempt.
    """
    places = search(config)
    place = next(places)
    while True:
        connection = connect(_with_password(place.config), meter)
        try:
            established = connection.drive(handshake(connection.config, place.wanted))
            connection.keep_keys()
            verified = established.verified is not TlsVerify.NONE or established.pin is not None
            connection.learn_group(verified=verified)
            return Ready(connection, established, _report(connection, established))
        except Error as error:
            connection.close()
            if connection.config is not place.config:
                _blame_passfile(error, connection.config)
            place = places.throw(error)
            meter.restart(config.connect_timeout)
        except BaseException:
            connection.close()
            raise


def _with_password(config: Config) -> Config:
    """Return the configuration with the password from its password file, if it needs one and the file has one."""
    if config.passfile is None or config.password is not None or config.scram_client_key is not None:
        return config
    password = config.find_password()
    return config if password is None else config.replace(password=password)


def _blame_passfile(error: Error, config: Config) -> None:
    """Add to a refused password that it came from the password file."""
    if isinstance(error, InvalidPassword):
        error.remedy = f'password retrieved from file "{config.passfile}"\n{error.remedy}'


def _report(connection: BlockingConnection, established: Established) -> SecurityReport:
    backend = connection.backend if established.facts is not None else None
    return security_report(
        established,
        backend=backend.name if backend is not None else None,
        backend_version=backend.capabilities.version if backend is not None else None,
        server_name=server_name(connection.config) if backend is not None else None,
        round_trips=connection.meter.round_trips,
        timings=dict(connection.meter.timings),
    )
