"""Where albums are kept, and what may come in: folders and names, no jobs and no HTTP.

An album is what one visitor has dropped. Its id is what he knows and nobody else can guess; that is all that guards it.
Files have names of our own making; what the visitor's file was called is text to be shown, and never a path.
"""

from __future__ import annotations

import re
import secrets
import unicodedata
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from examples.photos.output import MARKER

__all__ = ["MAX_BYTES", "MAX_PHOTOS", "SIGNATURE_BYTES", "Album", "Albums", "is_picture", "shown_name"]

MAX_BYTES = 30_000_000
"""Of one photo."""
MAX_PHOTOS = 300
"""In one album."""

SIGNATURES = (re.compile(rb"\xff\xd8\xff"), re.compile(rb"\x89PNG\r\n\x1a\n"), re.compile(rb"RIFF....WEBP", re.DOTALL))
SIGNATURE_BYTES = 12
"""So much of a file says what it is."""
ALBUM_ID = re.compile(r"[A-Za-z0-9_-]{22}")
PHOTO_ID = re.compile(r"[0-9]{4}")
LONGEST_NAME = 80


@dataclass(frozen=True, slots=True)
class Album:
    """One album's folder."""

    folder: Path

    @property
    def id(self) -> str:
        """What its address ends in."""
        return self.folder.name

    @property
    def gallery(self) -> Path:
        """The developed photos, a folder for each."""
        return self.folder / "gallery"

    @property
    def sheet(self) -> Path:
        """The PDF."""
        return self.folder / "contact-sheet.pdf"

    def original(self, photo: str) -> Path:
        """The photo as it came; raises `ValueError` for what is no id of a photo."""
        if not PHOTO_ID.fullmatch(photo):
            raise ValueError(f"{photo!r} is not the id of a photo")
        return self.folder / "originals" / photo

    def thumbnail(self, photo: str, size: str) -> Path:
        """The photo made smaller; raises `ValueError` as `original` does."""
        return self.gallery / self.original(photo).name / f"{size}.webp"

    def reserve(self) -> str | None:
        """The id of a photo to come, which nobody else is given; None: the album is full."""
        reserved = self.folder / "reserved"
        reserved.mkdir(exist_ok=True)
        for number in range(1, MAX_PHOTOS + 1):
            try:
                (reserved / f"{number:04}").touch(exist_ok=False)
            except FileExistsError:
                continue
            return f"{number:04}"
        return None

    def release(self, photo: str) -> None:
        """Give an id back whose photo did not come."""
        (self.folder / "reserved" / self.original(photo).name).unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Albums:
    """All albums."""

    root: Path

    def new(self) -> Album:
        """An empty album."""
        album = Album(self.root / secrets.token_urlsafe(16))
        (album.folder / "originals").mkdir(parents=True)
        (album.folder / MARKER).touch()  # the nightly clean-up may delete it once nobody touches it any more
        return album

    def get(self, id: str) -> Album | None:
        """The album with that id, if there is one."""
        folder = self.root / id
        return Album(folder) if ALBUM_ID.fullmatch(id) and folder.is_dir() else None


def is_picture(beginning: bytes) -> bool:
    """Whether a file that begins so may be a JPEG, PNG or WebP; what it is worth is seen when it is developed."""
    return any(signature.match(beginning) for signature in SIGNATURES)


def shown_name(name: str) -> str:
    """The name of a visitor's file as it is shown: its last part, printable, of bearable length."""
    last = PureWindowsPath(PurePosixPath(name).name).name
    text = "".join(letter for letter in unicodedata.normalize("NFC", last) if letter.isprintable()).strip()
    if len(text) > LONGEST_NAME:
        text = f"{text[: LONGEST_NAME - 8]}…{text[-7:]}"
    return text or "photo"
