"""Write the pictures of docs/doctor.md.

Run ``python -m tests.doctor.write_pictures`` in the checkout. It needs Chromium and Pillow.
"""

from __future__ import annotations

import base64
import io
import tempfile
from pathlib import Path

from PIL import Image

from babar_tls.doctor.html import render

from .chromium import Page
from .html_samples import FAILED

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
WIDTH = 860  # pixels

#: By colour scheme: the JavaScript expressions for the first and the last element of the picture.
PARTS = {
    "light": ("document.querySelector('header')", "document.querySelector('.stages .stage.failed')"),
    "dark": ("document.querySelector('.waterfall').closest('section')", "document.querySelector('.chain')"),
}


def write_pictures() -> None:
    """Write one picture for each colour scheme."""
    with tempfile.TemporaryDirectory() as name, Page(Path(name)) as page:
        report = Path(name) / "report.html"
        report.write_text(render(FAILED), encoding="utf-8")
        for scheme, (first, last) in PARTS.items():
            page.open(report, width=WIDTH, scheme=scheme)
            top = page.evaluate(f"{first}.getBoundingClientRect().top + scrollY - 16")
            bottom = page.evaluate(f"{last}.getBoundingClientRect().bottom + scrollY + 16")
            clip = {"x": 0, "y": top, "width": WIDTH, "height": bottom - top, "scale": 1}
            picture = page.send("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
            with Image.open(io.BytesIO(base64.b64decode(picture["data"]))) as image:
                few_colours = image.convert("RGB").quantize(256, dither=Image.Dither.NONE)
                few_colours.save(PICTURES / f"doctor-report-{scheme}.png", optimize=True)


if __name__ == "__main__":
    write_pictures()
