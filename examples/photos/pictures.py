"""One photo in; three thumbnails, its dominant colours and what the camera wrote about it out. Pillow, no jobs."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from PIL import ExifTags, Image, ImageCms, ImageOps, UnidentifiedImageError
from pydantic import TypeAdapter

from examples.photos.output import write_whole

__all__ = [
    "SIZES",
    "SUFFIXES",
    "BrokenPhoto",
    "Photo",
    "Report",
    "develop",
    "dominant_colours",
    "read_gallery",
    "read_photo",
]

SIZES = {"large": 1600, "medium": 640, "small": 256}
"""Thumbnails: the longer side in pixels. A smaller photo is not blown up."""

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
FORMATS = ("JPEG", "PNG", "WEBP")

Report = Callable[[float, str], None]
"""Told how far the work has come: percent, and what is being done."""


class BrokenPhoto(ValueError):
    """The file's content is not a picture that can be read; trying again would change nothing."""


@dataclass(frozen=True, slots=True)
class Photo:
    """What is known about a developed photo. Width and height are those of the upright picture."""

    name: str
    width: int
    height: int
    camera: str
    taken: str
    colours: tuple[str, ...]
    """Like "#3a5f8c", the most frequent first."""


_photo_file = TypeAdapter(Photo)


def develop(source: Path, gallery: Path, report: Report, name: str = "") -> Photo:
    """Make `gallery/<file name>/` with `large.webp`, `medium.webp`, `small.webp` and `photo.json`.

    The folder has the file's full name, so that `a.jpg` and `a.png` do not meet; `name` is what the photo is called if
    not like its file. Raises `BrokenPhoto`, or `OSError` where the disk is in the way.
    """
    name = name or source.name
    report(0, "reading")
    image, size, facts = read_photo(source, name)
    folder = gallery / source.name
    folder.mkdir(parents=True, exist_ok=True)
    for done, (thumbnail, side) in enumerate(SIZES.items()):
        report(30 + 20 * done, f"{thumbnail} thumbnail")
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
        write_whole(folder / f"{thumbnail}.webp", lambda path: image.save(path, "WEBP", quality=82))
    report(90, "colours")
    photo = Photo(name, *size, *facts, dominant_colours(image))
    write_whole(folder / "photo.json", lambda path: path.write_bytes(_photo_file.dump_json(photo, indent=2)))
    report(100, "done")
    return photo


def read_gallery(gallery: Path) -> list[tuple[Photo, Path]]:
    """All developed photos by the names of their folders, each with that."""
    files = sorted(gallery.glob("*/photo.json"), key=lambda path: (path.parent.name.casefold(), path.parent.name))
    return [(_photo_file.validate_json(path.read_bytes()), path.parent) for path in files]


def read_photo(source: Path, name: str = "") -> tuple[Image.Image, tuple[int, int], tuple[str, str]]:
    """The upright picture in sRGB (mode RGB or RGBA), its full size, and its camera and date ("" where not told).

    The picture may be smaller than its full size (a JPEG is decoded at half size or less where that is enough for the
    largest thumbnail).
    """
    name = name or source.name
    data = source.read_bytes()  # apart from decoding: a disk in trouble is worth another try, bad content is not
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            scale = min(1.0, SIZES["large"] / max(width, height))
            image.draft(None, (max(1, int(width * scale)), max(1, int(height * scale))))
            image.load()
            facts = _facts(image)
            upright, sideways = _upright(image)
            return _srgb(upright), (height, width) if sideways else (width, height), facts
    except UnidentifiedImageError:
        what = "is not a JPEG, PNG or WebP picture" if data else "is empty"
        raise BrokenPhoto(f"{name} {what}") from None
    except MemoryError:
        raise
    except Exception as error:  # what decoders raise on bad data: OSError, SyntaxError, ValueError, struct.error, …
        raise BrokenPhoto(f"{name} is broken: {error}") from error


def dominant_colours(image: Image.Image, count: int = 5) -> tuple[str, ...]:
    """At most `count` colours that differ visibly, the most frequent first; transparent parts do not count."""
    small = image.convert("RGBA")
    small.thumbnail((64, 64))
    pixels = small.tobytes()
    opaque = b"".join(pixels[at : at + 3] for at in range(0, len(pixels), 4) if pixels[at + 3] >= 128)
    if not opaque:
        return ()
    row = Image.frombytes("RGB", (len(opaque) // 3, 1), opaque)
    reduced = row.quantize(3 * count, method=Image.Quantize.MEDIANCUT, kmeans=3).convert("RGB")
    counted = cast("list[tuple[int, tuple[int, int, int]]]", reduced.getcolors())
    chosen: list[tuple[int, int, int]] = []
    for _, colour in sorted(counted, reverse=True):
        if all(sum(abs(a - b) for a, b in zip(colour, other, strict=True)) > 48 for other in chosen):
            chosen.append(colour)
    return tuple("#" + bytes(colour).hex() for colour in chosen[:count])


def _facts(image: Image.Image) -> tuple[str, str]:
    """Camera and date as the camera wrote them."""
    try:
        exif = image.getexif()
        maker, model = (_clean(exif.get(tag)) for tag in (ExifTags.Base.Make, ExifTags.Base.Model))
        details = exif.get_ifd(ExifTags.IFD.Exif)
        taken = _clean(details.get(ExifTags.Base.DateTimeOriginal) or exif.get(ExifTags.Base.DateTime))
    except Exception:  # noqa: BLE001  EXIF is often damaged, in any way, where the picture is fine
        return "", ""
    return model if model.startswith(maker) else f"{maker} {model}".strip(), taken


def _clean(value: Any) -> str:
    text = value if isinstance(value, str) else ""
    return "".join(letter for letter in text if letter.isprintable()).strip()[:80]


def _upright(image: Image.Image) -> tuple[Image.Image, bool]:
    """The picture as it was seen, and whether its sides changed places for that."""
    try:
        sideways = image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
        return ImageOps.exif_transpose(image), sideways
    except Exception:  # noqa: BLE001  better a photo on its side than none, where only the EXIF is damaged
        return image, False


def _srgb(image: Image.Image) -> Image.Image:
    """RGB, or RGBA where something is transparent, in the colours that every screen shows."""
    profile = image.info.get("icc_profile")
    if image.mode.startswith("I"):  # 16 bits of grey
        image = image.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    if image.has_transparency_data:
        return image.convert("RGBA")
    if profile and image.mode in ("RGB", "CMYK", "L"):
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            target = ImageCms.createProfile("sRGB")
            converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
            return converted or image.convert("RGB")
        except (ImageCms.PyCMSError, OSError):
            return image.convert("RGB")  # a damaged profile: the plain conversion is close enough
    return image.convert("RGB")
