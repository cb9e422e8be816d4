"""The report in headless Chromium, in both colour schemes and several widths."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from babar_tls.doctor.html import render

from .chromium import CHROMIUM, Page
from .html_hostile import ONE_HOSTILE
from .html_samples import EXPIRED, FAILED, SEVERAL

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from babar_tls.doctor.diagnosis import Diagnosis

if CHROMIUM is None:
    pytest.skip("Chromium is not installed", allow_module_level=True)

#: The first elements that reach over the right edge of the page.
OVERFLOWING = """[...document.body.querySelectorAll("*")].filter(each => {
    const box = each.getBoundingClientRect();
    return box.width > 1 && (box.right > document.documentElement.clientWidth + 0.5 || box.left < -0.5);
}).slice(0, 3).map(each => each.outerHTML.slice(0, 200))"""


#: The first elements whose text has a contrast below 4.5 to what it is displayed on (WCAG 2.2, 1.4.3).
LOW_CONTRAST = """(() => {
    const channels = colour => colour.match(/[0-9.]+/g).map(Number);
    const luminance = colour => channels(colour).slice(0, 3).map(each => each / 255)
        .map(each => each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4)
        .reduce((sum, each, index) => sum + each * [0.2126, 0.7152, 0.0722][index], 0);
    const background = element => {
        const colour = getComputedStyle(element).backgroundColor;
        return channels(colour)[3] === 0 ? background(element.parentElement) : colour;
    };
    const hasText = element => [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
    return [...document.body.querySelectorAll("*:not(title)")].filter(hasText).filter(element => {
        const style = getComputedStyle(element);
        const colours = [element instanceof SVGElement ? style.fill : style.color, background(element)];
        const [darker, lighter] = colours.map(luminance).sort((one, other) => one - other);
        return (lighter + 0.05) / (darker + 0.05) < 4.5;
    }).slice(0, 3).map(element => element.outerHTML.slice(0, 200));
})()"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with Page(tmp_path_factory.mktemp("chromium")) as page:
        yield page


def show(page: Page, folder: Path, diagnosis: Diagnosis, *, width: int, scheme: str = "light") -> Path:
    """Open the report of a diagnosis, and return its file."""
    file = folder / "report.html"
    file.write_text(render(diagnosis), encoding="utf-8")
    page.open(file, width=width, scheme=scheme)
    return file


@pytest.mark.parametrize("width", [320, 360, 700, 1000, 1600])
@pytest.mark.parametrize("diagnosis", [FAILED, SEVERAL, ONE_HOSTILE], ids=["failed", "several", "hostile"])
def test_nothing_is_wider_than_the_page(page: Page, tmp_path: Path, diagnosis: Diagnosis, width: int) -> None:
    show(page, tmp_path, diagnosis, width=width)
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert page.evaluate(OVERFLOWING) == []


@pytest.mark.parametrize("diagnosis", [FAILED, ONE_HOSTILE], ids=["failed", "hostile"])
def test_report_opens_without_requests_and_errors(page: Page, tmp_path: Path, diagnosis: Diagnosis) -> None:
    file = show(page, tmp_path, diagnosis, width=1600, scheme="dark")
    requests = [each for each in page.events if each["method"] == "Network.requestWillBeSent"]
    assert [each["params"]["request"]["url"] for each in requests] == [file.as_uri()]
    noise = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Page.javascriptDialogOpening")
    assert [each for each in page.events if each["method"] in noise] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_rendered_in_the_colours_of_the_scheme(page: Page, tmp_path: Path, scheme: str) -> None:
    show(page, tmp_path, FAILED, width=1600, scheme=scheme)
    assert EXPIRED.text in page.evaluate("document.body.innerText")
    assert page.evaluate("document.compatMode") == "CSS1Compat"
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert colour == {"light": "rgb(245, 246, 248)", "dark": "rgb(20, 23, 27)"}[scheme]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("diagnosis", [FAILED, SEVERAL, ONE_HOSTILE], ids=["failed", "several", "hostile"])
def test_every_text_has_enough_contrast(page: Page, tmp_path: Path, diagnosis: Diagnosis, scheme: str) -> None:
    show(page, tmp_path, diagnosis, width=1000, scheme=scheme)
    assert page.evaluate(LOW_CONTRAST) == []


@pytest.mark.parametrize("width", [320, 1600])
def test_labels_of_the_axis_do_not_overlap(page: Page, tmp_path: Path, width: int) -> None:
    show(page, tmp_path, SEVERAL, width=width)
    axes = page.evaluate("""[...document.querySelectorAll(".waterfall-axis")].map(axis =>
        [...axis.querySelectorAll("text")].map(each => each.getBoundingClientRect())
        .map(box => [box.left, box.right]))""")
    assert len(axes) == len(SEVERAL.targets)
    for axis in axes:
        assert len(axis) >= 2
        assert all(before[1] < after[0] for before, after in pairwise(axis))


def test_bar_of_a_short_stage_is_visible(page: Page, tmp_path: Path) -> None:
    show(page, tmp_path, SEVERAL, width=360)
    widths = page.evaluate("""[...document.querySelectorAll(".waterfall > li:not(.skipped) > svg")].map(row =>
        Math.max(...[...row.querySelectorAll("rect")].map(each => each.getBoundingClientRect().width)))""")
    assert len(widths) > 20
    assert min(widths) >= 2
