"""An album as its page shows it: what is on the disk and what the job store knows, put together."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from examples.photos.pictures import Photo, read_gallery
from examples.photos.web.albums import MAX_PHOTOS, Album
from examples.photos.web.jobs import ALBUM_QUEUE, SHEET_QUEUE
from mainspring import Job, Mainspring, State

__all__ = ["AlbumView", "PhotoView", "SheetView", "see_album", "see_photo"]

GONE_WRONG = (State.DEAD, State.CANCELLED)


@dataclass(frozen=True, slots=True)
class PhotoView:
    """One photo of an album."""

    id: str
    name: str
    job: Job[Any] | None
    """None: it ended so long ago that the store has forgotten it."""
    photo: Photo | None
    """What it came to, once that is there."""

    @property
    def state(self) -> str:
        """One of "done", "wrong" or "working"."""
        if self.job is not None and self.job.state in GONE_WRONG:
            return "wrong"
        ended = self.job is None or self.job.state is State.COMPLETED
        return "done" if ended and self.photo is not None else "working"

    @property
    def reason(self) -> str:
        """Why it went wrong."""
        if self.job is None:
            return ""
        error = f"{self.job.error.type}: {self.job.error.message}" if self.job.error else ""
        return (self.job.reason or error or "it was cancelled").removeprefix("buried: ")


@dataclass(frozen=True, slots=True)
class SheetView:
    """The contact sheet of an album."""

    is_there: bool
    job: Job[Any] | None
    """What draws the next one, or has failed to."""

    @property
    def is_coming(self) -> bool:
        """Whether it is being drawn, or will be in a moment."""
        return self.job is not None and self.job.finished_at is None

    @property
    def has_failed(self) -> bool:
        """Whether it could not be drawn."""
        return self.job is not None and self.job.state in GONE_WRONG


@dataclass(frozen=True, slots=True)
class AlbumView:
    """A whole album."""

    album: Album
    photos: tuple[PhotoView, ...]
    sheet: SheetView

    @property
    def done(self) -> int:
        """How many photos are done."""
        return sum(photo.state == "done" for photo in self.photos)

    @property
    def wrong(self) -> int:
        """How many went wrong."""
        return sum(photo.state == "wrong" for photo in self.photos)

    @property
    def working(self) -> int:
        """How many are still to come."""
        return len(self.photos) - self.done - self.wrong

    @property
    def is_full(self) -> bool:
        """Whether no photo may be added."""
        return len(self.photos) >= MAX_PHOTOS


async def see_album(app: Mainspring, album: Album) -> AlbumView:
    """The album as it is now."""
    jobs = await app.jobs.afind(queue=ALBUM_QUEUE, partition=album.id, limit=MAX_PHOTOS)
    sheets = await app.jobs.afind(queue=SHEET_QUEUE, partition=album.id, limit=1)
    developed = await asyncio.to_thread(_developed, album)
    working = {job.args["photo"]: job for job in jobs}
    photos = tuple(_see(id, working.get(id), developed.get(id)) for id in sorted(developed | working))
    return AlbumView(album, photos, SheetView(album.sheet.exists(), sheets[0] if sheets else None))


async def see_photo(app: Mainspring, album: Album, photo: str) -> PhotoView | None:
    """One photo of it, if it has that."""
    view = await see_album(app, album)
    return next((each for each in view.photos if each.id == photo), None)


def _see(id: str, job: Job[Any] | None, photo: Photo | None) -> PhotoView:
    name = job.args["name"] if job else photo.name if photo else id
    return PhotoView(id, name, job, photo)


def _developed(album: Album) -> dict[str, Photo]:
    return {folder.name: photo for photo, folder in read_gallery(album.gallery)}
