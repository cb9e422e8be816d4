"""The cipher suites and groups that a configuration names are offered, or refused with a reason."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from babar_tls import Config, ConfigError, TlsVersion
from babar_tls.backends import TlsParameters, get_backend, offer_of
from babar_tls.tls.algorithms import openssl_name, select
from babar_tls.tls.connection import TlsConnection
from babar_tls.tls.hello import ClientOffer, client_offer

from .pairs import Pair

if TYPE_CHECKING:
    from babar_tls.testing import CertificateAuthority

NAME = "db.example.com"
AES256, CHACHA20, AES128 = 0x1302, 0x1303, 0x1301
TLS13 = ("TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256")


def offered(backend: str, parameters: TlsParameters) -> ClientOffer:
    """Return the offer of the backend with these parameters."""
    stream = TlsConnection(get_backend(backend), parameters, NAME)
    stream.do_handshake()
    return client_offer(stream.data_to_send())


@pytest.mark.parametrize("name", ["ECDHE-RSA-AES256-GCM-SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"])
def test_tls_12_suite_is_the_only_one_offered(
    backend: str, name: str, parameters: TlsParameters, authority: CertificateAuthority
) -> None:
    """TLS 1.3 is not offered then."""
    asked = dataclasses.replace(parameters, ciphers=(name,))
    offer = offered(backend, asked)
    usable = [code for code in offer.ciphers if code >> 8 != 0x13]  # those of TLS 1.3 mean nothing in a 1.2 hello
    assert (offer.versions, usable) == (("TLSv1.2",), [0xC030])
    pair = Pair(backend, asked, NAME, authority.issue(NAME, key="rsa2048")).handshake()
    assert pair.server.cipher()[:2] == ("ECDHE-RSA-AES256-GCM-SHA384", "TLSv1.2")


def test_tls_13_suite_is_the_only_one_offered_or_refused(
    backend: str, parameters: TlsParameters, authority: CertificateAuthority
) -> None:
    """A backend that cannot choose among the suites of TLS 1.3 refuses it."""
    asked = dataclasses.replace(parameters, ciphers=("TLS_CHACHA20_POLY1305_SHA256",))
    if get_backend(backend).capabilities.selects_ciphers != "all":
        with pytest.raises(ConfigError, match=r"cannot choose among the cipher suites of TLS 1\.3") as caught:
            TlsConnection(get_backend(backend), asked, NAME)
        assert caught.value.remedy
        return
    offer = offered(backend, asked)
    assert (offer.versions, offer.ciphers) == (("TLSv1.3",), (CHACHA20,))
    assert Pair(backend, asked, NAME, authority.issue(NAME)).handshake().client.facts.version == "TLSv1.3"


def test_all_tls_13_suites_and_one_tls_12_suite_are_offered(backend: str, parameters: TlsParameters) -> None:
    offer = offered(backend, dataclasses.replace(parameters, ciphers=(*TLS13, "ECDHE-ECDSA-AES128-GCM-SHA256")))
    assert offer.versions == ("TLSv1.3", "TLSv1.2")
    assert sorted(offer.ciphers) == [AES128, AES256, CHACHA20, 0xC02B]


@pytest.mark.parametrize("name", ["ROT13", "HIGH", "ECDHE", "TLS_NOTHING_WITH_NOTHING_SHA256"])
def test_unknown_suite_is_refused_by_name(backend: str, name: str, parameters: TlsParameters) -> None:
    """OpenSSL would ignore it if a known suite is given too."""
    for ciphers in ((name,), ("ECDHE-RSA-AES256-GCM-SHA384", name)):
        with pytest.raises(ConfigError, match=name):
            TlsConnection(get_backend(backend), dataclasses.replace(parameters, ciphers=ciphers), NAME)


def test_suites_of_no_allowed_version_are_refused(backend: str, parameters: TlsParameters) -> None:
    asked = dataclasses.replace(parameters, ciphers=("ECDHE-RSA-AES256-GCM-SHA384",), min_version=TlsVersion.TLSV1_3)
    with pytest.raises(ConfigError, match="contains no cipher suite for an allowed TLS version"):
        TlsConnection(get_backend(backend), asked, NAME)


@pytest.mark.parametrize("name", ["secp384r1", "P-384"])
def test_group_is_the_only_one_offered_and_used_or_refused(
    backend: str, name: str, parameters: TlsParameters, authority: CertificateAuthority
) -> None:
    """A backend that cannot choose a group refuses it."""
    asked = dataclasses.replace(parameters, groups=(name,))
    if get_backend(backend).capabilities.selects_groups == "no":
        with pytest.raises(ConfigError, match="group"):
            TlsConnection(get_backend(backend), asked, NAME)
        return
    offer = offered(backend, asked)
    assert offer.groups == offer.key_shares == ("secp384r1",)
    assert Pair(backend, asked, NAME, authority.issue(NAME)).handshake().client.facts.group == "secp384r1"


#: Spellings that each backend must accept, with IANA's name of the group.
SPELLINGS = {
    "P-256": "secp256r1",
    "prime256v1": "secp256r1",
    "secp256r1": "secp256r1",
    "p-384": "secp384r1",
    "SECP384R1": "secp384r1",
    "P-521": "secp521r1",
    "brainpoolp384r1": "brainpoolP384r1",
    "brainpoolP256r1": "brainpoolP256r1",
    "BRAINPOOLP512R1": "brainpoolP512r1",
    "x25519": "x25519",
    "X25519": "x25519",
    "x448": "x448",
    "X448": "x448",
    "ffdhe2048": "ffdhe2048",
    "FFDHE8192": "ffdhe8192",
    "x25519mlkem768": "X25519MLKEM768",
    "X25519MLKEM768": "X25519MLKEM768",
    "MLKEM1024": "MLKEM1024",
    "curveSM2": "curveSM2",
    "secp224r1": "secp224r1",
    "secp256k1": "secp256k1",
    "brainpoolP256r1tls13": "brainpoolP256r1tls13",
}
#: The groups that pyOpenSSL can select.
SELECTABLE_BY_OPENSSL = ("secp256r1", "secp384r1", "secp521r1", "brainpool")


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_group_in_any_spelling_is_offered_or_refused_by_name(
    backend: str, spelling: str, parameters: TlsParameters
) -> None:
    name = SPELLINGS[spelling]
    refusal = None
    try:
        offer = offered(backend, dataclasses.replace(parameters, groups=(spelling,)))
    except ConfigError as error:
        refusal = str(error)
    if refusal is None:
        only_tls12 = name in ("secp224r1", "secp256k1") or (name.startswith("brainpool") and "tls13" not in name)
        assert offer.groups == (name,)
        assert offer.versions == (("TLSv1.2",) if only_tls12 else ("TLSv1.3", "TLSv1.2"))
        return
    assert f"{backend} backend" in refusal
    assert repr(spelling) in refusal
    available = offer_of(get_backend(backend))
    assert available is not None
    assert backend != "stdlib" or name not in available.groups
    assert backend != "openssl" or not name.startswith(SELECTABLE_BY_OPENSSL) or name.endswith("tls13")


@pytest.mark.parametrize(
    ("group", "versions"),
    [
        ("brainpoolP256r1", {"min_version": TlsVersion.TLSV1_3}),
        ("ffdhe2048", {"max_version": TlsVersion.TLSV1_2}),
    ],
)
def test_group_of_another_tls_version_is_refused_by_name(
    backend: str, group: str, versions: dict[str, TlsVersion], parameters: TlsParameters
) -> None:
    with pytest.raises(ConfigError, match=f"{backend} backend.*{group}"):
        TlsConnection(get_backend(backend), dataclasses.replace(parameters, groups=(group,), **versions), NAME)


@pytest.mark.parametrize("groups", [("rot13",), ("secp384r1", "x25519")])
def test_unknown_group_and_unsupported_list_are_refused_by_name(
    backend: str, groups: tuple[str, ...], parameters: TlsParameters
) -> None:
    if get_backend(backend).capabilities.selects_groups == "list" and len(groups) > 1:
        pytest.skip("this backend accepts a list")
    with pytest.raises(ConfigError, match=groups[0]):
        TlsConnection(get_backend(backend), dataclasses.replace(parameters, groups=groups), NAME)


def test_config_accepts_strings_and_sequences() -> None:
    """The result can be converted to a connection string and back."""
    config = Config(user="app", tls_groups="X25519MLKEM768:x25519", tls_ciphers=["TLS_AES_256_GCM_SHA384"])
    assert config.tls_groups == ("X25519MLKEM768", "x25519")
    assert config.tls_ciphers == ("TLS_AES_256_GCM_SHA384",)
    assert Config.from_conninfo(config.to_conninfo(), environ={}) == config
    assert Config(user="app", tls_ciphers="").tls_ciphers == ()


@pytest.mark.parametrize("value", ["HIGH:!aNULL", ["ECDHE+AES"], [b"TLS_AES_256_GCM_SHA384"], 7, ["a b"]])
@pytest.mark.parametrize("field", ["tls_ciphers", "tls_groups"])
def test_config_refuses_classes_of_suites(field: str, value: object) -> None:
    """An expression of OpenSSL for many suites is not definite. Each suite must be named."""
    with pytest.raises(ConfigError, match=field):
        Config(user="app", **{field: value})


def test_suites_of_one_version_exclude_the_other_version() -> None:
    only12 = select(TlsParameters(ciphers=("ECDHE-RSA-AES256-GCM-SHA384",)))
    assert (only12.min_version, only12.max_version) == (TlsVersion.TLSV1_2, TlsVersion.TLSV1_2)
    only13 = select(TlsParameters(ciphers=("tls_aes_256_gcm_sha384",)))
    assert (only13.min_version, only13.max_version, only13.tls13) == (TlsVersion.TLSV1_3, None, TLS13[:1])


@pytest.mark.skipif(shutil.which("openssl") is None, reason="the openssl program is not installed")
def test_openssl_names_are_those_of_openssl() -> None:
    """IANA's names of all suites for servers with RSA and ECDSA certificates."""
    listed = subprocess.run(  # noqa: S603 - a program that this test names
        [shutil.which("openssl"), "ciphers", "-stdname", "-v", "ALL"], check=True, capture_output=True, text=True
    ).stdout
    compared = 0
    for line in listed.splitlines():
        iana, _, name, version, *rest = line.split()
        authentication = next(word for word in rest if word.startswith("Au="))
        if version != "TLSv1.3" and authentication in ("Au=RSA", "Au=ECDSA") and "ARIA" not in name:
            exchange = next(word for word in rest if word.startswith("Kx="))
            if exchange in ("Kx=ECDH", "Kx=DH", "Kx=RSA"):
                assert openssl_name(iana) == name
                compared += 1
    assert compared > 20
