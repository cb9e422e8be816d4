"""The colours of the report: WCAG 2.2, success criteria 1.4.3 and 1.4.11."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

CSS = files("babar_tls.doctor.html").joinpath("report.css").read_text(encoding="utf-8")

#: Text, and what it is displayed on.
TEXT = {
    "text": ("page", "card", "ok-tint", "warning-tint", "failed-tint"),
    "muted": ("page", "card"),
    "link": ("page", "card", "failed-tint"),
    "ok": ("card", "ok-tint"),
    "warning": ("card", "warning-tint"),
    "failed": ("card", "failed-tint"),
}

#: Bars and lines.
GRAPHICS = {"line": ("card",), "bar": ("card",), "warning": ("card",), "failed": ("card",)}


def palettes() -> dict[str, dict[str, str]]:
    """Return the light and the dark colours by their names."""
    blocks = re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)
    light, dark = (dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", block)) for block in blocks[:2])
    return {"light": light, "dark": dark}


PALETTES = palettes()


def luminance(colour: str) -> float:
    """Return the relative luminance of a colour (WCAG 2.2)."""
    channels = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    red, green, blue = (each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours (WCAG 2.2)."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_both_schemes_have_the_same_colours() -> None:
    assert PALETTES["light"].keys() == PALETTES["dark"].keys()
    assert TEXT.keys() | GRAPHICS.keys() <= PALETTES["light"].keys()


def test_every_colour_that_is_used_is_in_the_palette() -> None:
    assert set(re.findall(r"var\(--([a-z-]+)\)", CSS)) == PALETTES["light"].keys()
    rest = re.sub(r":root \{.*?\}", "", CSS, flags=re.DOTALL)
    assert re.findall(r"#[0-9a-fA-F]{3,8}\b(?=[;\s])|rgb|hsl", rest) == []


@pytest.mark.parametrize("scheme", PALETTES)
def test_text_has_enough_contrast(scheme: str) -> None:
    palette = PALETTES[scheme]
    for name, backgrounds in TEXT.items():
        for background in backgrounds:
            assert contrast(palette[name], palette[background]) >= 4.5, (name, background)


@pytest.mark.parametrize("scheme", PALETTES)
def test_graphics_have_enough_contrast(scheme: str) -> None:
    palette = PALETTES[scheme]
    for name, backgrounds in GRAPHICS.items():
        for background in backgrounds:
            assert contrast(palette[name], palette[background]) >= 3, (name, background)
