"""Logins that the server refuses, and servers that are not what a configuration requires."""

from __future__ import annotations

from typing import TYPE_CHECKING

from babar_tls.doctor.causes import Cause

from .fault import Fault
from .fault_world import log_in, receive_until_closed

if TYPE_CHECKING:
    from collections.abc import Callable

    from babar_tls.testing import ScriptedPeer

    from .fault_world import Arena


def _refused(sqlstate: str, message: str) -> Callable[[Arena], str]:
    """Return a function that starts a server that refuses every StartupMessage, over TLS."""

    def script(peer: ScriptedPeer) -> None:
        peer.receive_startup()
        peer.send_message(b"E", f"SFATAL\0VFATAL\0C{sqlstate}\0M{message}\0\0".encode())
        receive_until_closed(peer)

    return lambda arena: arena.conninfo(arena.listen(script, tls=arena.world.good))


def _by_socket(**parameters: str | None) -> Callable[[Arena], str]:
    """Return a function that logs in to the real server by its Unix-domain socket."""

    def arrange(arena: Arena) -> str:
        server = arena.world.server
        return arena.conninfo(server.port, host=str(server.socket_dir), hostaddr=None, **parameters)

    return arrange


def _through_pooler(**parameters: str | None) -> Callable[[Arena], str]:
    """Return a function that logs in through PgBouncer."""
    return lambda arena: arena.conninfo(arena.pooler().port, **parameters)


FAULTS = [
    Fault(
        name="other_system_user",
        description="pg_hba.conf requires that the operating system's user has the role's name (`peer`)",
        arrange=_by_socket(user="peer_role"),
        cause=Cause.SERVER_REFUSED,
        stage="authentication-offer",
        advice="The operating system's user of this process must have the role's name",
    ),
    Fault(
        name="no_local_entry",
        description="pg_hba.conf has no entry for the Unix-domain socket (`local`)",
        arrange=_by_socket(),
        cause=Cause.NO_HBA_ENTRY,
        stage="authentication-offer",
        advice="The server has no line of type local in pg_hba.conf",
    ),
    Fault(
        name="wrong_password_through_pooler",
        description="the password is wrong, and PgBouncer checks it",
        arrange=_through_pooler(password="a wrong secret of ours"),
        cause=Cause.WRONG_PASSWORD,
        stage="authentication",
        advice="Check the user and the password",
    ),
    Fault(
        name="missing_database_through_pooler",
        description="the database does not exist behind PgBouncer",
        arrange=_through_pooler(dbname="nowhere"),
        cause=Cause.MISSING_DATABASE,
        stage="authentication",
        advice="Check the database's name, or create it",
    ),
    Fault(
        name="rejected_with_tls",
        description="pg_hba.conf rejects the client",
        arrange=log_in(dbname="rejected"),
        cause=Cause.NO_HBA_ENTRY,
        stage="authentication-offer",
        advice="A line with the method reject in the server's pg_hba.conf matches this host, user and database",
    ),
    Fault(
        name="no_entry_with_tls",
        description="pg_hba.conf has no entry for the client",
        arrange=log_in(dbname="not_listed"),
        cause=Cause.NO_HBA_ENTRY,
        stage="authentication-offer",
        advice="No line of type host or hostssl in the server's pg_hba.conf matches this host, user and database. "
        "Add one, and reload",
    ),
    Fault(
        name="only_hostnossl",
        description="pg_hba.conf has an entry for the client only without TLS (`hostnossl`)",
        arrange=log_in(dbname="unencrypted"),
        cause=Cause.NO_HBA_ENTRY,
        stage="authentication-offer",
        advice="No line of type host or hostssl in the server's pg_hba.conf matches this host, user and database. "
        "Add one, and reload",
    ),
    Fault(
        name="only_hostssl",
        description="pg_hba.conf has an entry for the client only with TLS (`hostssl`), and `sslmode` is `disable`",
        arrange=log_in(dbname="encrypted", sslmode="disable"),
        cause=Cause.ENCRYPTION_REQUIRED,
        stage="authentication-offer",
        advice="use sslmode=verify-full, or at least sslmode=require",
    ),
    Fault(
        name="rejected_without_tls",
        description="pg_hba.conf rejects the client, and `sslmode` is `disable`",
        arrange=log_in(dbname="rejected", sslmode="disable"),
        cause=Cause.NO_HBA_ENTRY,
        stage="authentication-offer",
        advice="A line with the method reject in the server's pg_hba.conf matches this host, user and database",
    ),
    Fault(
        name="plain_text_rejected",
        description="pg_hba.conf rejects the client without TLS (`hostnossl … reject`), and `sslmode` is `disable`",
        arrange=log_in(dbname="reject_plain", sslmode="disable"),
        cause=Cause.ENCRYPTION_REQUIRED,
        stage="authentication-offer",
        advice="use sslmode=verify-full, or at least sslmode=require",
    ),
    Fault(
        name="role_without_login",
        description="the role is not permitted to log in",
        arrange=log_in(user="nologin"),
        cause=Cause.MISSING_ROLE,
        stage="authentication",
        advice="Allow it (ALTER ROLE … LOGIN), or connect as another user",
    ),
    Fault(
        name="missing_role",
        description="the role does not exist, and pg_hba.conf requires no password",
        arrange=log_in(user="ghost"),
        cause=Cause.MISSING_ROLE,
        stage="authentication",
        advice="Create the role (CREATE ROLE … LOGIN), or connect as another user",
    ),
    Fault(
        name="missing_database",
        description="the database does not exist",
        arrange=log_in(dbname="nowhere"),
        cause=Cause.MISSING_DATABASE,
        stage="authentication",
        advice="Check the database's name, or create it",
    ),
    Fault(
        name="forbidden_database",
        description="the role must not connect to the database",
        arrange=log_in(dbname="forbidden"),
        cause=Cause.SERVER_REFUSED,
        stage="authentication",
        advice="Grant the role CONNECT on the database",
    ),
    Fault(
        name="too_many_connections",
        description="the role or the server already has its maximum of connections",
        arrange=log_in(user="crowded"),
        cause=Cause.TOO_MANY_CONNECTIONS,
        stage="authentication",
        advice="close some, use a pool, or raise max_connections",
    ),
    Fault(
        name="starting",
        description="the server is starting up",
        arrange=_refused("57P03", "the database system is starting up"),
        cause=Cause.SERVER_STARTING,
        stage="authentication-offer",
        advice="The server is starting up, shutting down or recovering: try again later",
    ),
    Fault(
        name="not_a_standby",
        description="the server is a primary, and the configuration requires a standby (`target_session_attrs`)",
        arrange=log_in(target_session_attrs="standby"),
        cause=Cause.WRONG_SESSION,
        stage="authentication",
        advice="Add another host … or set target_session_attrs to a value that this server satisfies",
    ),
    Fault(
        name="refused_for_another_reason",
        description="the server reports another error",
        arrange=_refused("58P01", "could not open file"),
        cause=Cause.SERVER_REFUSED,
        stage="authentication-offer",
        advice="See the server's log for the reason",
    ),
    Fault(
        name="weak_setting",
        description="the server stores new passwords as MD5 hashes",
        arrange=log_in(user="md5_default"),
        cause=Cause.WEAK_SERVER_SETTING,
        stage="server",
        advice="ALTER SYSTEM SET password_encryption = 'scram-sha-256'",
        is_fault=False,
    ),
]
