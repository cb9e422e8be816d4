"""The exit status of ``babar-tls doctor`` for each cause."""

from __future__ import annotations

from ..doctor.causes import Cause

#: By exit status (`_errors.EXIT_STATUSES`): the causes with which a connect usually ends with that status.
_CAUSES: dict[int, tuple[Cause, ...]] = {
    2: (
        Cause.INVALID_CONFIGURATION,
        Cause.BACKEND_MISSING,
        Cause.ROOT_FILE,
        Cause.NO_DEFAULT_ROOTS,
        Cause.ROOT_ENVIRONMENT,
        Cause.NOT_VERIFIED,
        Cause.WEAK_CONFIGURATION,
    ),
    3: (
        Cause.UNKNOWN_HOST,
        Cause.NAME_SERVICE,
        Cause.CONNECTION_REFUSED,
        Cause.NO_RESPONSE,
        Cause.UNREACHABLE,
        Cause.SOME_ADDRESSES_FAIL,
        Cause.SILENT_SERVICE,
        Cause.OTHER,
    ),
    4: (
        Cause.TLS_NOT_OFFERED,
        Cause.TLS_VERSION,
        Cause.TLS_ALGORITHMS,
        Cause.TLS_FAILED,
        Cause.ALPN,
        Cause.CLIENT_CERTIFICATE_REQUIRED,
        Cause.CLIENT_CERTIFICATE_REJECTED,
        Cause.CLIENT_CERTIFICATE_REVOKED,
    ),
    5: (
        Cause.LEAF_EXPIRED,
        Cause.INTERMEDIATE_EXPIRED,
        Cause.ROOT_EXPIRED,
        Cause.NOT_YET_VALID,
        Cause.EXPIRES_SOON,
        Cause.INTERMEDIATE_MISSING,
        Cause.SELF_SIGNED,
        Cause.UNKNOWN_CA,
        Cause.WRONG_NAME,
        Cause.COMMON_NAME_ONLY,
        Cause.CERTIFICATE_REVOKED,
        Cause.CRL_EXPIRED,
        Cause.CRL_MISSING,
        Cause.CERTIFICATE_PINNED,
        Cause.CERTIFICATE_INVALID,
    ),
    6: (
        Cause.PASSWORD_UNAVAILABLE,
        Cause.BINDING_IMPOSSIBLE,
        Cause.BINDING_NOT_OFFERED,
        Cause.BINDING_MISMATCH,
        Cause.WRONG_PASSWORD,
        Cause.NO_HBA_ENTRY,
        Cause.ENCRYPTION_REQUIRED,
        Cause.METHOD_REFUSED,
        Cause.MD5_FIPS,
        Cause.SERVER_NOT_PROVEN,
        Cause.MISSING_ROLE,
    ),
    7: (
        Cause.MISSING_DATABASE,
        Cause.TOO_MANY_CONNECTIONS,
        Cause.SERVER_STARTING,
        Cause.WRONG_SESSION,
        Cause.SERVER_REFUSED,
        Cause.WEAK_SERVER_SETTING,
    ),
    8: (Cause.OTHER_SERVICE, Cause.PLAIN_TEXT_INJECTED, Cause.PROTOCOL),
}

STATUSES = {cause: status for status, causes in _CAUSES.items() for cause in causes}
