"""A camera for people who have no photos at hand: a dozen 12-megapixel pictures of places that do not exist.

Each is scenery (sky, ridges, then water, houses or a meadow) with a camera's grain and EXIF. The same seed gives the
same pictures. The portraits are stored lying down with an orientation tag, as cameras do it.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import pi, sin
from pathlib import Path
from random import Random

from PIL import ExifTags, Image, ImageChops, ImageDraw, ImageFilter, ImageFont

__all__ = ["BROKEN", "NAMES", "break_file", "take_photo", "take_photos"]

SIZE = (4000, 3000)

# Upper and lower case, letters outside ASCII, and one stem with two suffixes: what real folders hold.
NAMES = ("IMG_2041.JPG", "IMG_2042.JPG", "IMG_2043.jpg", "IMG_2043.png", "Dorf am Morgen.jpg", "Größere Wiese.jpeg",
         "Fjord bei Ålesund.jpg", "IMG_2047.JPG", "IMG_2048.JPG", "京都の朝.jpg", "IMG_2050.PNG",
         "IMG_2051.JPG")  # fmt: skip
BROKEN = "IMG_2052.JPG"
"""The file whose copying from the camera was cut short."""

CAMERAS = (("Kestrel", "Kestrel K12"), ("Lumen Optics", "L-120"))
TRANSPOSED = {1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
"""EXIF orientation: how the upright picture is laid down to be stored."""

Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Light:
    """The colours of a time of day."""

    name: str
    sky: tuple[Colour, Colour, Colour]
    sun: Colour
    ground: Colour


LIGHTS = (
    Light("morning", ((92, 142, 196), (176, 203, 222), (247, 222, 190)), (255, 244, 214), (74, 104, 66)),
    Light("noon", ((38, 104, 188), (98, 160, 222), (196, 222, 238)), (255, 255, 240), (60, 116, 52)),
    Light("evening", ((52, 50, 104), (186, 88, 96), (250, 178, 96)), (255, 214, 130), (62, 58, 54)),
    Light("night", ((8, 12, 34), (22, 32, 70), (60, 72, 110)), (236, 238, 250), (18, 24, 34)),
)


def take_photos(folder: Path, seed: int, size: tuple[int, int] = SIZE) -> list[Path]:
    """Fill `folder` with the dozen pictures of `NAMES` and the `BROKEN` one; gives their paths."""
    folder.mkdir(parents=True, exist_ok=True)

    def take(number: int) -> Path:
        path = folder / NAMES[number]
        take_photo(path, seed, number, size)
        return path

    with ThreadPoolExecutor(2) as pool:
        paths = list(pool.map(take, range(len(NAMES))))
    broken = folder / BROKEN
    broken.write_bytes(paths[0].read_bytes())
    break_file(broken)
    return [*paths, broken]


def break_file(path: Path) -> None:
    """Keep the first two fifths of the file, as a copy that was cut short would."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 5])


def take_photo(path: Path, seed: int, number: int, size: tuple[int, int] = SIZE) -> None:
    """Take the picture of that number, as PNG or JPEG by the path's suffix."""
    chance = Random(f"{seed}/{number}")
    # It goes round with the number, so that every seed has portraits.
    orientation = (1, 1, 6, 1, 1, 3, 8, 1)[number % 8]
    upright = size[::-1] if orientation in (6, 8) else size
    light = LIGHTS[number % len(LIGHTS)]
    taken = datetime(2026, 5, 1, 6) + timedelta(days=chance.randrange(150), minutes=chance.randrange(900))
    grain = 5 if path.suffix.lower() == ".png" else 14  # PNG keeps every grain: with more its files become huge
    picture = _add_grain(_scenery(chance, upright, light, number), chance, grain)
    _stamp(picture, f"{taken:%d %m} '{taken:%y}")
    turn = TRANSPOSED[orientation]
    stored = picture.transpose(turn) if turn is not None else picture
    exif = _exif(chance, taken, orientation)
    if path.suffix.lower() == ".png":
        stored.save(path, "PNG", exif=exif, compress_level=1)
    else:
        stored.save(path, "JPEG", exif=exif, quality=88)


def _scenery(chance: Random, size: tuple[int, int], light: Light, number: int) -> Image.Image:
    width, height = size
    picture = _sky(chance, size, light)
    draw = ImageDraw.Draw(picture)
    horizon = int(height * chance.uniform(0.5, 0.62))
    for depth in range(4):
        colour = _mix(light.sky[2], light.ground, 0.35 + 0.2 * depth)
        base = horizon - int(height * (0.12 - 0.05 * depth))
        draw.polygon([*_ridge(chance, width, base, height // (9 + 3 * depth)), (width, height), (0, height)], colour)
    foreground = (_water, _village, _meadow)[number % 3]
    foreground(draw, chance, (width, height), horizon + int(height * 0.1), light)
    return picture


def _sky(chance: Random, size: tuple[int, int], light: Light) -> Image.Image:
    """Soft things are drawn at an eighth of the size: enlarging them is what makes them soft, and is fast."""
    small = (size[0] // 8, size[1] // 8)
    gradient = Image.new("RGB", (1, 3))
    for row, colour in enumerate(light.sky):
        gradient.putpixel((0, row), colour)
    sky = gradient.resize(small, Image.Resampling.BICUBIC)
    clouds = Image.new("L", small)
    for octave in range(2, 7):
        cells = (2 ** (octave - 1), 2**octave)  # wider than high, as clouds are
        speckles = Image.frombytes("L", cells, chance.randbytes(cells[0] * cells[1]))
        clouds = ImageChops.add(clouds, speckles.resize(small, Image.Resampling.BICUBIC).point(_fade(octave)))
    sky.paste((255, 255, 255), mask=clouds.point(lambda value: max(0, value - 120) * 1.2))
    x, y = int(small[0] * chance.uniform(0.15, 0.85)), int(small[1] * chance.uniform(0.12, 0.4))
    for radius, strength in ((small[1] // 5, 70), (small[1] // 22, 255)):
        glow = Image.new("L", small)
        ImageDraw.Draw(glow).ellipse((x - radius, y - radius, x + radius, y + radius), strength)
        sky.paste(light.sun, mask=glow.filter(ImageFilter.GaussianBlur(radius / 3)))
    return sky.resize(size, Image.Resampling.BICUBIC)


def _fade(octave: int) -> list[int]:
    """A look-up table: the finer the octave, the fainter."""
    return [value >> (octave - 1) for value in range(256)]


def _ridge(chance: Random, width: int, base: int, height: int) -> list[tuple[float, float]]:
    waves = [(chance.uniform(0, 2 * pi), 2**n * chance.uniform(0.8, 1.4), height / 1.8**n) for n in range(8)]
    points = range(0, width + 16, 16)
    return [
        (x, base + sum(rise * sin(phase + turns * 2 * pi * x / width) for phase, turns, rise in waves)) for x in points
    ]


def _water(draw: ImageDraw.ImageDraw, chance: Random, size: tuple[int, int], shore: int, light: Light) -> None:
    width, height = size
    for y in range(shore, height, 6):
        near = (y - shore) / (height - shore)
        draw.rectangle((0, y, width, y + 6), fill=_mix(light.sky[2], light.sky[0], near))
    for _ in range(900):
        y = shore + int((height - shore) * chance.random() ** 1.5)
        x, length = chance.randrange(width), 20 + (y - shore) // 8
        draw.line((x, y, x + length, y), _mix(light.sun, light.sky[1], chance.random()), 2 + (y - shore) // 300)


def _village(draw: ImageDraw.ImageDraw, chance: Random, size: tuple[int, int], street: int, light: Light) -> None:
    width, height = size
    draw.rectangle((0, street, width, height), fill=_mix(light.ground, (120, 112, 104), 0.5))
    left = -chance.randrange(width // 12)
    while left < width:
        wide, tall = chance.randrange(width // 14, width // 7), chance.randrange(height // 8, height // 4)
        right, top, foot = left + wide, street - tall, street + height // 10
        wall = _mix(
            chance.choice(((206, 92, 70), (222, 190, 120), (150, 168, 176), (236, 230, 216))), light.sky[0], 0.25
        )
        draw.rectangle((left, top, right, foot), fill=wall)
        draw.polygon([(left - 20, top), ((left + right) // 2, top - wide // 2), (right + 20, top)], (96, 52, 44))
        pane = max(4, wide // 9)
        for x in range(left + pane, right - pane, pane * 2):
            for y in range(top + pane, foot - pane, pane * 2):
                draw.rectangle((x, y, x + pane, y + pane), fill=chance.choice(((250, 226, 150), (60, 70, 88))))
        left = right + chance.randrange(max(1, width // 30))
    sign = f"{chance.choice(('CAFE', 'HOTEL', 'STATION', 'BOOKS'))} No. {chance.randrange(1, 90)}"
    draw.text((width * 0.1, street + height * 0.16), sign, (250, 244, 230), ImageFont.load_default(height // 18))


def _meadow(draw: ImageDraw.ImageDraw, chance: Random, size: tuple[int, int], edge: int, light: Light) -> None:
    width, height = size
    draw.rectangle((0, edge, width, height), fill=light.ground)
    petals: tuple[Colour, ...] = ((232, 60, 60), (250, 214, 70), (240, 240, 250), (150, 90, 200))
    for _ in range(2500):
        near = chance.random() ** 1.5
        x, y, r = chance.randrange(width), edge + int((height - edge) * near), 2 + near * height / 120
        draw.line((x, y, x + r, y + 4 * r), _mix(light.ground, (150, 190, 90), chance.random()), max(1, int(r / 3)))
        if chance.random() < 0.4:
            draw.ellipse((x - r, y - r, x + r, y + r), fill=_mix(chance.choice(petals), light.sky[0], 0.15))


def _add_grain(picture: Image.Image, chance: Random, strength: int) -> Image.Image:
    """A sensor's noise, laid out as one tile in places that do not repeat."""
    side = 512
    tile = Image.frombytes("RGB", (side, side), chance.randbytes(3 * side * side))
    tile = tile.point([round(128 + (value - 127.5) * strength / 128) for value in range(256)] * 3)
    grain = Image.new("RGB", picture.size, (128, 128, 128))
    for y in range(0, picture.height, side):
        for x in range(-chance.randrange(side), picture.width, side):
            grain.paste(tile, (x, y))
    return ImageChops.add(picture, grain, 1, -128)


def _stamp(picture: Image.Image, text: str) -> None:
    size = picture.height // 40
    font = ImageFont.load_default(size)
    ImageDraw.Draw(picture).text((picture.width * 0.97, picture.height * 0.95), text, (255, 140, 40), font, anchor="rs")


def _exif(chance: Random, taken: datetime, orientation: int) -> Image.Exif:
    maker, model = CAMERAS[chance.randrange(len(CAMERAS))]
    written = f"{taken:%Y:%m:%d %H:%M:%S}"
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = maker
    exif[ExifTags.Base.Model] = model
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.DateTime] = written
    details = exif.get_ifd(ExifTags.IFD.Exif)
    details[ExifTags.Base.DateTimeOriginal] = written
    details[ExifTags.Base.ExposureTime] = 1 / chance.choice((60, 125, 250, 500))
    details[ExifTags.Base.FNumber] = chance.choice((1.8, 2.8, 5.6, 8.0))
    details[ExifTags.Base.ISOSpeedRatings] = chance.choice((100, 200, 800))
    details[ExifTags.Base.FocalLength] = 26.0
    return exif


def _mix(one: Colour, other: Colour, share: float) -> Colour:
    """`one` with `share` (0 to 1) of `other` in it."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue
