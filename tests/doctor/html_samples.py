"""Diagnoses that the tests of the report draw."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

from babar_tls.doctor.causes import Cause
from babar_tls.doctor.diagnosis import BackendHandshake, CertificateSummary, Diagnosis, Finding, Stage, Target

NOW = 1_790_000_000.0  # 2026-09-21 13:33:20 UTC
DAY = 86400

CONFIGURATION = Stage(
    key="configuration",
    title="Configuration",
    start=0.0,
    seconds=0.0021,
    observations=(
        "host = db.example.com (connection string: host)",
        "user = billing (environment variable PGUSER)",
        "password = (hidden) (password file ~/.pgpass)",
        "tls_verify = full (connection string: sslmode)",
        "tls_root_cert_path = /etc/ssl/company/root-ca.pem (connection string: sslrootcert)",
        "channel_binding = require (connection string: channel_binding)",
    ),
)

SERVER = CertificateSummary(
    role="server",
    origin="sent",
    subject="db.example.com",
    names=("db.example.com", "db-replica.example.com", "*.db.internal.example.com", "10.20.0.14"),
    issuer="Example TLS Issuing CA 3",
    key="EC P-256",
    signature="RSA with SHA-256",
    not_before=NOW - 60 * DAY,
    not_after=NOW + 30 * DAY,
    days_left=30,
    sha256=sha256(b"server").hexdigest(),
)
INTERMEDIATE = replace(
    SERVER,
    role="intermediate",
    subject="Example TLS Issuing CA 3",
    names=(),
    issuer="Example Root CA",
    key="RSA 3072",
    not_before=NOW - 1096 * DAY,
    not_after=NOW - DAY,
    days_left=-1,
    sha256=sha256(b"intermediate").hexdigest(),
    fault="expired on 2026-09-20",
)
ROOT = replace(
    SERVER,
    role="root",
    origin="/etc/ssl/company/root-ca.pem",
    subject="Example Root CA",
    names=(),
    issuer="Example Root CA",
    key="RSA 4096",
    not_before=NOW - 3000 * DAY,
    not_after=NOW + 4000 * DAY,
    days_left=4000,
    sha256=sha256(b"root").hexdigest(),
)

EXPIRED = Finding(
    cause=Cause.INTERMEDIATE_EXPIRED,
    is_fault=True,
    text='the intermediate certificate "Example TLS Issuing CA 3" expired on 2026-09-20',
    remedy="The server sends it: replace it in the file of the server's certificate (ssl_cert_file). If it should be "
    "valid, check this machine's clock.",
)

HANDSHAKES = (
    BackendHandshake(
        backend="stdlib",
        is_selected=True,
        seconds=0.0381,
        tls_version="TLSv1.3",
        cipher="TLS_AES_256_GCM_SHA384",
        group="X25519MLKEM768",
        alpn="postgresql",
    ),
    BackendHandshake(
        backend="openssl",
        is_selected=False,
        seconds=0.0369,
        tls_version="TLSv1.2",
        cipher="ECDHE-RSA-AES256-GCM-SHA384",
        group="x25519",
        alpn="postgresql",
    ),
    BackendHandshake(
        backend="rustls",
        is_selected=False,
        seconds=0.0352,
        problem="the server sent the alert handshake_failure (40)",
    ),
)

STAGES = (
    Stage(
        key="dns",
        title="Name resolution",
        start=0.0021,
        seconds=0.0117,
        observations=("db.example.com has the addresses 2001:db8::20:14, 10.20.0.14 (11.6 ms)",),
    ),
    Stage(
        key="tcp",
        title="TCP connection",
        start=0.0138,
        seconds=0.0624,
        observations=(
            "2001:db8::20:14, port 5432: Network is unreachable (31.0 ms)",
            "10.20.0.14, port 5432: connected (31.2 ms)",
        ),
        findings=(
            Finding(
                cause=Cause.SOME_ADDRESSES_FAIL,
                is_fault=False,
                text="1 of 2 addresses of db.example.com does not accept connections",
                remedy="Remove the AAAA record, or connect the server to the IPv6 network.",
            ),
        ),
    ),
    Stage(
        key="offer",
        title="TLS offer",
        start=0.0762,
        seconds=0.0315,
        observations=(
            "SSLRequest: the server offers TLS (S)",
            "TLS from the first byte (sslnegotiation=direct): supported, with ALPN",
        ),
    ),
    Stage(
        key="handshake",
        title="TLS handshake",
        start=0.1077,
        seconds=0.1102,
        observations=(
            "stdlib (selected): TLSv1.3, TLS_AES_256_GCM_SHA384, X25519MLKEM768, ALPN postgresql (38.1 ms)",
            "openssl: TLSv1.2, ECDHE-RSA-AES256-GCM-SHA384, x25519, ALPN postgresql (36.9 ms)",
            "rustls: the server sent the alert handshake_failure (40)",
        ),
    ),
    Stage(
        key="chain",
        title="Certificate chain",
        start=0.2179,
        seconds=0.0012,
        observations=(
            "server: db.example.com for db.example.com, db-replica.example.com, *.db.internal.example.com, 10.20.0.14, "
            "issued by Example TLS Issuing CA 3, EC P-256, RSA with SHA-256, 2026-07-23 to 2026-10-21, 30 days left, "
            f"SHA-256 {SERVER.sha256}",
            "intermediate: Example TLS Issuing CA 3, issued by Example Root CA, RSA 3072, RSA with SHA-256, 2023-09-21 "
            f"to 2026-09-20, expired 1 day ago, SHA-256 {INTERMEDIATE.sha256}",
        ),
    ),
    Stage(
        key="trust",
        title="Trust",
        start=0.2191,
        seconds=0.0391,
        observations=(
            "Trusted certificates: /etc/ssl/company/root-ca.pem (1 certificate)",
            "The stdlib backend reports: SSL error: certificate verify failed: certificate has expired",
        ),
        findings=(EXPIRED,),
    ),
    Stage(
        key="hostname",
        title="Hostname",
        start=0.2582,
        seconds=0.0002,
        observations=("The certificate is for db.example.com.",),
    ),
    *(
        Stage(
            key=key, title=title, start=0.2584, seconds=0.0, skipped="the connect fails earlier (intermediate-expired)"
        )
        for key, title in (
            ("authentication-offer", "Authentication offer"),
            ("channel-binding", "Channel binding"),
            ("authentication", "Authentication"),
            ("server", "Server settings"),
        )
    ),
)

FAILED = Diagnosis(
    began=NOW,
    configuration=CONFIGURATION,
    targets=(
        Target(
            name="db.example.com, port 5432",
            stages=STAGES,
            handshakes=HANDSHAKES,
            certificates=(SERVER, INTERMEDIATE, ROOT),
        ),
    ),
)

_WORKING_STAGES = tuple(
    replace(stage, skipped=None, seconds=0.0123, start=0.1 + 0.0123 * index, findings=())
    for index, stage in enumerate(STAGES)
)
WORKING = Diagnosis(
    began=NOW,
    configuration=CONFIGURATION,
    targets=(
        Target(
            name="db.example.com, port 5432",
            stages=_WORKING_STAGES,
            handshakes=HANDSHAKES[:1],
            certificates=(SERVER, replace(INTERMEDIATE, fault=None, days_left=400, not_after=NOW + 400 * DAY)),
        ),
    ),
)

#: One stage takes 10 s and the others 1 ms. Nothing follows it.
SLOW_STAGES = tuple(
    replace(
        stage, start=0.001 * index + (10.0 if index > 1 else 0.0), seconds=10.0 if index == 1 else 0.001, findings=()
    )
    for index, stage in enumerate(_WORKING_STAGES)
)
SEVERAL = Diagnosis(
    began=NOW,
    configuration=replace(
        CONFIGURATION,
        findings=(
            Finding(
                cause=Cause.NOT_VERIFIED,
                is_fault=False,
                text="sslmode=require does not verify the server.",
                remedy="Set sslmode=verify-full.",
            ),
        ),
    ),
    targets=(
        FAILED.targets[0],
        replace(
            WORKING.targets[0], name="a-very-long-host-name-of-a-database-cluster.eu-central-1.rds.example.com:5432"
        ),
        Target(name="10.0.0.3, port 5432", stages=SLOW_STAGES),
        Target(
            name="/var/run/postgresql/.s.PGSQL.5432",
            stages=(Stage(key="tcp", title="Unix-domain socket", start=10.2, seconds=0.0002),),
        ),
    ),
)

SAMPLES = {"failed": FAILED, "working": WORKING, "several": SEVERAL}
