"""The contact sheet: an A4 PDF with every photo's thumbnail, name, camera, date and colours."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from examples.photos.output import write_whole
from examples.photos.pictures import Photo

__all__ = ["draw_sheet", "sheet_name"]

PAGE = (1240, 1754)
"""A4 at 150 pixels per inch."""
DPI = 150
COLUMNS, ROWS = 3, 5
MARGIN, TOP, GAP = 70, 150, 24
CELL = ((PAGE[0] - 2 * MARGIN - (COLUMNS - 1) * GAP) // COLUMNS, (PAGE[1] - TOP - MARGIN - (ROWS - 1) * GAP) // ROWS)
PICTURE = (CELL[0], CELL[1] - 96)
INK, GREY = "#222222", "#777777"

# Pillow's own font has hardly more than ASCII; these are looked for wherever the system keeps its fonts.
SYSTEM_FONTS = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "LiberationSans-Regular.ttf", "Arial.ttf",
                "Arial Unicode.ttf", "NotoSansCJK-Regular.ttc", "PingFang.ttc", "msgothic.ttc")  # fmt: skip

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def draw_sheet(
    photos: Sequence[tuple[Photo, Path]], sheet: Path, title: str, report: Callable[[float, str], None]
) -> int:
    """Write the PDF; `photos` come with the folders of their thumbnails. Gives the number of pages."""
    numbered = list(enumerate(photos, 1))
    pages = [numbered[at : at + COLUMNS * ROWS] for at in range(0, len(numbered), COLUMNS * ROWS)]

    def write(scratch: Path) -> None:
        for number, cells in enumerate(pages, 1):  # page by page, so that memory holds one however many there are
            report(100 * (number - 1) / len(pages), f"page {number} of {len(pages)}")
            page = _page(cells, f"{title} · {number}/{len(pages)}")
            page.save(scratch, "PDF", resolution=DPI, quality=88, title=title, append=number > 1)

    write_whole(sheet, write)
    return len(pages)


def _page(cells: Sequence[tuple[int, tuple[Photo, Path]]], heading: str) -> Image.Image:
    page = Image.new("RGB", PAGE, "white")
    draw = ImageDraw.Draw(page)
    _text(draw, (MARGIN, 64), heading, 36, INK, PAGE[0] - 2 * MARGIN)
    for place, (number, (photo, folder)) in enumerate(cells):
        row, column = divmod(place, COLUMNS)
        _cell(page, draw, (MARGIN + column * (CELL[0] + GAP), TOP + row * (CELL[1] + GAP)), number, photo, folder)
    return page


def _cell(
    page: Image.Image, draw: ImageDraw.ImageDraw, corner: tuple[int, int], number: int, photo: Photo, folder: Path
) -> None:
    left, top = corner
    with Image.open(folder / "medium.webp") as thumbnail:
        picture = thumbnail.convert("RGBA")
    picture.thumbnail(PICTURE, Image.Resampling.LANCZOS)
    page.paste(picture, (left + (PICTURE[0] - picture.width) // 2, top + (PICTURE[1] - picture.height) // 2), picture)
    _text(draw, (left, top + PICTURE[1] + 8), sheet_name(number, photo.name), 20, INK, CELL[0])
    facts = " · ".join(
        filter(None, [photo.taken[:10].replace(":", "-"), f"{photo.width} x {photo.height}", photo.camera])
    )
    _text(draw, (left, top + PICTURE[1] + 36), facts, 15, GREY, CELL[0])
    for place, colour in enumerate(photo.colours):
        x = left + place * 48
        draw.rectangle((x, top + PICTURE[1] + 62, x + 40, top + PICTURE[1] + 82), fill=colour, outline="#cccccc")


def sheet_name(number: int, name: str) -> str:
    """How a photo is called on the sheet and in the mail: no font has every letter, but every font has the number."""
    return f"{number}. {name}"


def _text(draw: ImageDraw.ImageDraw, corner: tuple[int, int], text: str, size: int, colour: str, width: int) -> None:
    """One line of text, cut with an ellipsis where it is wider than `width`."""
    text = unicodedata.normalize("NFC", text)
    font = _font(text, size)
    text = "".join(_nearest(font, letter) for letter in text)
    while text and draw.textlength(text, font) > width:
        text = text[:-2].rstrip("…. ") + "…" if len(text) > 2 else ""
    draw.text(corner, text, colour, font)


def _font(text: str, size: int) -> Font:
    """The first font that has every letter of the text; else the first there is."""
    fonts = [font for font in (_system_font(name, size) for name in SYSTEM_FONTS) if font]
    complete = (font for font in fonts if all(_has(font, letter) for letter in text))
    return next(complete, fonts[0] if fonts else ImageFont.load_default(size))


@cache
def _system_font(name: str, size: int) -> Font | None:
    try:
        return ImageFont.truetype(name, size)
    except OSError:
        return None


def _nearest(font: Font, letter: str) -> str:
    """The letter, or the same without its accent, or a question mark: the nearest that the font has."""
    bare = unicodedata.normalize("NFKD", letter)[0]
    return next((form for form in (letter, bare) if _has(font, form)), "?")


def _has(font: Font, letter: str) -> bool:
    """A letter that a font lacks looks like a code point that nobody has."""
    if letter.isascii() or not isinstance(font, ImageFont.FreeTypeFont):
        return letter.isascii() and letter.isprintable()
    return bytes(font.getmask(letter)) != bytes(font.getmask("\U0010ffff"))
