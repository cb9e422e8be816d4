"""The HTML report of a diagnosis, without a browser."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import pytest

from babar_tls.doctor.causes import Cause
from babar_tls.doctor.diagnosis import Diagnosis, Finding, Stage, Target
from babar_tls.doctor.html import render

from . import html_samples
from .html_document import Document
from .html_hostile import HOSTILE, ONE_HOSTILE
from .html_samples import (
    CONFIGURATION,
    EXPIRED,
    FAILED,
    HANDSHAKES,
    INTERMEDIATE,
    NOW,
    ROOT,
    SERVER,
    SEVERAL,
    STAGES,
    WORKING,
)

SAMPLES = {**html_samples.SAMPLES, "hostile": ONE_HOSTILE}
TARGET = FAILED.targets[0]


def with_target(**fields: object) -> Diagnosis:
    """Return a diagnosis of one host."""
    return replace(FAILED, targets=(replace(TARGET, **fields),))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", SAMPLES)
def test_document_is_well_formed(name: str) -> None:
    document = Document(render(SAMPLES[name]))
    assert [each for each, _ in document.elements[:2]] == ["html", "head"]
    assert document.named("html") == [{"lang": "en"}]
    assert len(document.named("h1")) == len(document.named("title")[:1]) == len(document.named("main")) == 1
    ids = [attributes["id"] for _, attributes in document.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("name", SAMPLES)
def test_document_loads_nothing_and_runs_nothing(name: str) -> None:
    source = render(SAMPLES[name])
    document = Document(source)
    policies = [each for each in document.named("meta") if each.get("http-equiv") == "Content-Security-Policy"]
    assert len(policies) == 1
    assert str(policies[0]["content"]).startswith("default-src 'none'; style-src 'unsafe-inline'")
    names = {each for each, _ in document.elements}
    assert names.isdisjoint({"script", "img", "link", "iframe", "object", "embed", "base", "form", "image", "use"})
    for _, attributes in document.elements:
        assert attributes.keys().isdisjoint({"src", "srcset", "action", "background", "style", "xlink:href"})
        assert not any(attribute.startswith("on") for attribute in attributes)
        assert attributes.get("href", "#").startswith("#")  # type: ignore[union-attr] # no attribute is without a value
    assert "url(" not in document.style
    assert "@import" not in document.style


@pytest.mark.parametrize("name", ["failed", "several"])
def test_every_link_has_its_target(name: str) -> None:
    document = Document(render(SAMPLES[name]))
    ids = {f"#{attributes['id']}" for _, attributes in document.elements if "id" in attributes}
    links = [each["href"] for each in document.named("a")]
    assert links
    assert set(links) <= ids


@pytest.mark.parametrize("name", SAMPLES)
def test_headings_leave_out_no_level(name: str) -> None:
    levels = [int(each[1]) for each, _ in Document(render(SAMPLES[name])).elements if re.fullmatch("h[1-6]", each)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_same_diagnosis_gives_the_same_document() -> None:
    assert render(SEVERAL) == render(SEVERAL)


def test_verdict_names_the_cause_the_remedy_and_the_stage() -> None:
    source = render(FAILED)
    header = Document(source[source.index("<header") : source.index("</header>")] + "</header>")
    assert f"The connection fails: {EXPIRED.text}" in header.text
    assert EXPIRED.remedy is not None
    assert EXPIRED.remedy in header.text
    assert "Cause: intermediate-expired; stage Trust." in header.text
    assert header.named("a") == [{"href": "#host-1-stage-6"}]


def test_verdict_of_an_invalid_configuration_links_to_it() -> None:
    fault = Finding(cause=Cause.INVALID_CONFIGURATION, is_fault=True, text="port must be a number")
    document = Document(render(Diagnosis(began=NOW, configuration=replace(CONFIGURATION, findings=(fault,)))))
    assert "The connection fails: port must be a number" in document.text
    assert document.named("a") == [{"href": "#configuration"}]


def test_verdict_of_a_working_connection() -> None:
    assert "✓ The connection works." in Document(render(WORKING)).text
    text = Document(render(SEVERAL)).text
    assert "! The connection works.1 of 4 hosts fails. There are 2 warnings." in text


def test_diagnosis_without_a_host_is_not_a_success() -> None:
    text = Document(render(Diagnosis(began=NOW, configuration=CONFIGURATION))).text
    assert "No host was diagnosed." in text
    assert "works" not in text


def test_each_stage_has_its_status_as_mark_and_word() -> None:
    document = Document(render(FAILED))
    marks = [(each["class"], each["aria-label"]) for each in document.named("span") if each.get("role") == "img"]
    assert set(marks) == {
        ("mark ok", "passed"),
        ("mark warning", "warning"),
        ("mark failed", "failed"),
        ("mark skipped", "skipped"),
    }
    for stage in STAGES:
        assert stage.title in document.text
        for observation in stage.observations:
            assert observation in document.text
    assert "skipped: the connect fails earlier (intermediate-expired)" in document.text


def test_every_drawing_has_a_text() -> None:
    for each in Document(render(FAILED)).named("svg"):
        assert each.get("role") != "img" or each["aria-label"]
    assert "begins at 217 ms, takes 39 ms" in Document(render(FAILED)).text


def test_certificate_shows_its_facts() -> None:
    text = Document(render(FAILED)).text
    for certificate in (SERVER, INTERMEDIATE, ROOT):
        for fact in (certificate.subject, certificate.issuer, certificate.key, certificate.sha256):
            assert fact in text
    assert "2026-07-23 14:13:20 UTC to 2026-10-21 14:13:20 UTC (30 days left)" in text
    assert "(expired 1 day ago)" in text
    assert "✗ expired on 2026-09-20" in text


def test_certificate_of_the_future_is_not_called_expired() -> None:
    future = replace(SERVER, not_before=NOW + 1, not_after=NOW + 86400, days_left=1)
    text = Document(render(with_target(certificates=(future,)))).text
    assert "(not valid yet)" in text
    assert "1 day left" not in text


def test_each_certificate_is_above_its_issuer() -> None:
    other = replace(INTERMEDIATE, subject="Another CA", issuer="Yet another CA")
    source = render(with_target(certificates=(SERVER, other, ROOT, INTERMEDIATE)))
    chain = source[source.index("Server certificate") :]
    places = [chain.index(f'class="subject"><bdi>{each.subject}<') for each in (SERVER, INTERMEDIATE, ROOT, other)]
    assert places == sorted(places)
    assert chain.count('class="link">issued by<') == 2
    assert "Other certificates, which issued none of those above:" in chain


def test_missing_issuer_is_drawn() -> None:
    assert 'class="certificate missing"' in render(with_target(certificates=(SERVER,)))
    assert 'class="certificate missing"' not in render(with_target(certificates=(SERVER, INTERMEDIATE, ROOT)))


def test_self_signed_certificate_has_no_missing_issuer() -> None:
    alone = replace(SERVER, issuer=SERVER.subject)
    assert 'class="certificate missing"' not in render(with_target(certificates=(alone,)))


def test_handshakes_are_a_table_with_headers() -> None:
    document = Document(render(FAILED))
    headers = [each["scope"] for each in document.named("th")]
    assert headers == ["col"] * 7 + ["row"] * len(HANDSHAKES)
    assert len(document.named("caption")) == 1
    assert "stdlib (selected)" in document.text


def test_ten_certificates_are_all_drawn() -> None:
    names = [SERVER.subject, *(f"CA {number}" for number in range(9))]
    middle = (replace(INTERMEDIATE, subject=one, issuer=issuer) for one, issuer in pairwise(names))
    chain = (*middle, replace(ROOT, subject=names[-1], issuer=names[-1]))
    source = render(with_target(certificates=chain))
    assert source.count('<li class="certificate') == 10
    assert "not shown" not in source


def test_long_chain_shows_its_faulty_certificate_and_counts_the_others() -> None:
    chain = [
        replace(INTERMEDIATE, subject=f"CA {number}", issuer=f"CA {number + 1}", fault=None) for number in range(100)
    ]
    chain[60] = replace(chain[60], fault="The certificate has expired.")
    document = Document(render(with_target(certificates=tuple(chain))))
    assert "CA 60" in document.text
    assert "CA 99" in document.text
    left_out = re.findall(r"… (\d+) certificates? not shown", document.text)
    assert sum(map(int, left_out)) == 100 - 16


def test_many_names_are_shown_and_more_are_counted() -> None:
    names = tuple(f"name-{number}.example.com" for number in range(200))
    text = Document(render(with_target(certificates=(replace(SERVER, names=names),)))).text
    assert all(name in text for name in names)
    assert "188 more names" in text
    text = Document(render(with_target(certificates=(replace(SERVER, names=names * 100),)))).text
    assert "19750 more not shown" in text


def test_hostile_certificates_make_no_large_document() -> None:
    assert len(render(ONE_HOSTILE)) < 300_000
    assert len(render(HOSTILE)) < 20 * 300_000
    assert "10 more hosts not shown." in render(HOSTILE)


@pytest.mark.parametrize("number", [0, 1])
def test_target_without_stages_or_certificates(number: int) -> None:
    stages = (Stage(key="tcp", title="TCP connection", start=0.0, seconds=0.0),) * number
    Document(render(Diagnosis(began=NOW, configuration=CONFIGURATION, targets=(Target(name="db", stages=stages),))))
