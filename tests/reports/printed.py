"""What Chromium prints of a page: how far each sheet is filled, and on which ones a table lies."""

from __future__ import annotations

import re
import subprocess
import zlib
from dataclasses import dataclass
from html import escape
from pathlib import Path

LIMIT_SECONDS = 60.0
_OBJECT = re.compile(rb"(\d+) 0 obj\s(.*?)endobj", re.DOTALL)
_CM = re.compile(rb"([\d.-]+) 0 0 ([\d.-]+) ([\d.-]+) ([\d.-]+) cm")
_RECTANGLE = re.compile(rb"(?:^|\n)([\d.-]+) ([\d.-]+) ([\d.-]+) ([\d.-]+) re\b")


@dataclass(frozen=True, slots=True)
class Printed:
    """The sheets of a printed page, as Chromium writes them.

    filled: the share of each sheet's height down to where its last section ends. tables: for each
    table, on how many sheets it lies.
    """

    filled: list[float]
    tables: list[int]


def printed(chromium: Path, page: Path) -> Printed:
    """Print *page* into a PDF beside it and return what is seen there."""
    target = page.with_suffix(".pdf")
    _chromium(chromium, "--no-pdf-header-footer", f"--print-to-pdf={target}", page.as_uri())
    objects = {int(m[1]): m[2] for m in _OBJECT.finditer(target.read_bytes())}
    sheets = [o for o in objects.values() if re.search(rb"/Type\s*/Page\b(?!s)", o)]
    tables = [number for number, o in objects.items() if b"/S /Table\n" in o]
    return Printed(
        filled=[_filled(objects, sheet) for sheet in sheets],
        tables=[len(_sheets_of(objects, number)) for number in tables],
    )


def width_needed(chromium: Path, page: Path, *, width: int) -> tuple[int, int]:
    """Return the pixels that *page* takes across on a screen of *width*, and that screen's."""
    asking = page.with_name("asking.html")
    script = "document.title=f.contentDocument.documentElement.scrollWidth+' '+f.clientWidth"
    asking.write_text(  # a window of Chromium is never so narrow, a frame in it may be
        f"<title></title><iframe id=f style='border:0;width:{width}px;height:900px' "
        f'srcdoc="{escape(page.read_text(encoding="utf-8"))}" onload="{script}"></iframe>',
        encoding="utf-8",
    )
    done = _chromium(chromium, "--dump-dom", asking.as_uri())
    found = re.search(r"<title>(\d+) (\d+)</title>", done)
    assert found, "the page did not say its width"
    return int(found[1]), int(found[2])


def _chromium(chromium: Path, *arguments: str) -> str:
    return subprocess.run(
        [chromium, "--headless", "--no-sandbox", "--disable-gpu", *arguments],
        capture_output=True, text=True, timeout=LIMIT_SECONDS, check=True,
    ).stdout  # fmt: skip


def _filled(objects: dict[int, bytes], sheet: bytes) -> float:
    number = re.search(rb"/Contents (\d+) 0 R", sheet)
    assert number
    stored = objects[int(number[1])]
    drawn = zlib.decompressobj().decompress(stored[stored.index(b"stream") + 6 :].lstrip(b"\r\n"))
    clip = _RECTANGLE.search(drawn)  # what the margins leave, in dots
    place = _CM.findall(drawn)[1]  # from pixels of the whole page to dots of this sheet
    assert clip
    scale, shift = float(place[1]), float(place[3])
    top, height = float(clip[2]), float(clip[4])
    boxes = _RECTANGLE.findall(drawn[clip.end() :])
    across = boxes[0][2]  # the first section's; clips of figures are in dots
    ends = [float(y) + float(h) for _, y, w, h in boxes if w == across]
    last = max(ends) * scale + shift
    return min(1.0, (last - top) / height)


def _sheets_of(objects: dict[int, bytes], number: int) -> set[bytes]:
    """Return the sheets that hold anything of the element *number* of the document's structure."""
    element = objects[number]
    found = set(re.findall(rb"/Pg (\d+) 0 R", element))
    children = re.search(rb"/K (\[.*?\]|\d+ 0 R)", element, re.DOTALL)
    if children:
        for child in re.findall(rb"(?<!/Pg )\b(\d+) 0 R", children[1]):
            if b"/StructElem" in objects.get(int(child), b""):
                found |= _sheets_of(objects, int(child))
    return found
