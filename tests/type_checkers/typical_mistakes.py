"""Mistakes that type checkers must report: one in each marked line, with the codes of mypy and of pyright."""

from __future__ import annotations

from typing import Any

from babar_tls import Config, Host, Session, connect, connect_async
from babar_tls import Konfig  # error: attr-defined reportAttributeAccessIssue
from babar_tls.testing import PostgresServer, PostgresServr  # error: attr-defined reportAttributeAccessIssue
import babar_tls

babar_tls.konnect("service=shop")  # error: attr-defined reportAttributeAccessIssue
Config(dbname="shop")  # error: call-arg reportCallIssue
Config(tls_verfy="full")  # error: call-arg reportCallIssue
Config(sslmode="verify-full")  # error: call-arg reportCallIssue
Config("host=db")  # error: call-arg reportCallIssue
Config(tls_mode="verify-full")  # error: arg-type reportArgumentType
Config(tls_verify=True)  # error: arg-type reportArgumentType
Config(channel_binding="required")  # error: arg-type reportArgumentType
Config(channel_binding_type="tls-server-endpoint")  # error: arg-type reportArgumentType
Config(tls_min_version="1.3")  # error: arg-type reportArgumentType
Config(connect_timeout="3")  # error: arg-type reportArgumentType
Config(tls_root_cert_path=b"ca.pem")  # error: arg-type reportArgumentType
Config(tls_pins=1)  # error: arg-type reportArgumentType
Config(hosts=["a", "b"])  # error: list-item reportArgumentType
Config(keepalives="yes")  # error: arg-type reportArgumentType
Config(server_settings={"work_mem": 64})  # error: arg-type reportArgumentType
Config(password=lambda: 1)  # error: arg-type return-value reportArgumentType
Host("db", port=None)  # error: arg-type reportArgumentType

config = Config()
config.host = "db"  # error: misc reportAttributeAccessIssue
config.dbname  # error: attr-defined reportAttributeAccessIssue
config.replace(dbname="shop")  # error: call-arg reportCallIssue
config.replace(port=None)  # error: arg-type reportArgumentType
Config.from_conninfo("service=shop", tls_mode="on")  # error: arg-type reportArgumentType
Config.from_conninfo(config)  # error: arg-type reportArgumentType
config.tls_root_cert_path.upper()  # error: union-attr reportOptionalMemberAccess

connect("service=shop", dbname="shop")  # error: call-arg reportCallIssue
session: Session = connect_async("service=shop")  # error: assignment reportAssignmentType
Session.connect("service=shop")  # error: arg-type reportArgumentType
session.security.tls_verion  # error: attr-defined reportAttributeAccessIssue
session.query(b"select 1")  # error: arg-type reportArgumentType
names: list[str] = [name for (name,) in session.query("select 1")]  # error: misc reportAssignmentType
session.copy_to("COPY t TO STDOUT").decode()  # error: attr-defined reportAttributeAccessIssue

PostgresServer().config(dbname="shop")  # error: call-arg reportCallIssue

untyped: dict[str, Any] = {"port": 5432}
Config(**untyped)
