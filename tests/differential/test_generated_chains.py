"""Generated chains: up to three intermediates, some cross-signed, several roots, and some faults."""

from __future__ import annotations

import tempfile
from pathlib import Path

from fuzzing.profile import fuzz
from hypothesis import strategies as st

from babar_tls.config.enums import TlsVerify

from .agreement import check
from .certificates import NAME, SIGN_CERTIFICATES, SIGN_HANDSHAKES, SIGN_LISTS, Spec, World, below, leaf, root
from .table import COM, NET, ORG

_CHANGES: tuple[dict[str, object], ...] = (
    {"time": "past"},
    {"time": "future"},
    {"authority": True},
    {"authority": False},
    {"authority": None},
    {"authority": None, "usage": None},
    {"usage": None},
    {"usage": SIGN_LISTS},
    {"usage": SIGN_CERTIFICATES},
    {"usage": SIGN_HANDSHAKES},
    {"purposes": None},
    {"purposes": ("client",)},
    {"purposes": ("server",)},
    {"purposes": ("any",)},
    {"path_length": 0},
    {"path_length": 1},
    {"permitted": COM},
    {"permitted": ORG},
    {"permitted": NET},
    {"excluded": COM},
    {"authority_key": "none"},
    {"authority_key": "wrong"},
    {"damaged": True},
    {"signer": "another"},
    {"version": 1},
    {"names": ()},
    {"names": (NAME, "x.example.org")},
    {"serial": 1},
)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    first = root()
    second = root(draw(st.sampled_from(["root", "second root"])), key="second")
    path = [first]
    for number in range(draw(st.integers(0, 3))):
        path.append(below(path[-1], f"intermediate {number}"))
    own = leaf(None, subject=NAME, key="server")
    issuer = draw(st.sampled_from([*[path[-1]] * 8, second, own]))
    server = leaf(issuer, subject=NAME, key="forged") if issuer is own else leaf(issuer, subject=NAME, key="server")
    pool: list[Spec] = [server, *path, second, own, first.but(serial=2), below(second, "stranger")]
    if len(path) > 1:
        pool.append(path[1].but(issuer=second))
    for change in draw(st.lists(st.sampled_from(_CHANGES), max_size=3)):
        index = draw(st.integers(0, len(path)) | st.integers(0, len(pool) - 1))
        pool[index] = pool[index].but(**change)
    server, intermediates = pool[0], pool[2 : len(path) + 1][::-1]
    extra = st.lists(st.sampled_from(pool), max_size=2)
    sent = [*(intermediates if draw(st.integers(0, 7)) < 7 else []), *draw(extra)]
    trusted = [*(pool[1:2] if draw(st.integers(0, 7)) < 7 else []), *draw(extra)] or [second]
    return World(
        server,
        tuple(draw(st.permutations(sent))),
        tuple(dict.fromkeys(draw(st.permutations(trusted)))),
        verify=draw(st.sampled_from([TlsVerify.FULL, TlsVerify.FULL, TlsVerify.CA])),
        common_name=draw(st.booleans()),
    )


@fuzz(4, world=worlds())
def test_verdict_is_that_of_openssl_or_documented(world: World) -> None:
    with tempfile.TemporaryDirectory() as folder:
        check(world, Path(folder))
