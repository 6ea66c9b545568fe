"""The jobs of the page: the example's own, and three that work on albums. Its worker is

    mainspring worker examples.photos.web.jobs:app

Each photo that is done leaves a job behind which draws the contact sheet. It is debounced: one for a dozen photos, when
it has been quiet for a moment. So the PDF comes to be without anybody waiting for it, also where the tab was closed.

Besides what `examples.photos.app` is told by its environment (`PHOTOS_OUT` is the folder of all albums):

    PHOTOS_CAMERA      width and height of the photos that it takes itself; 3200x2400 if not set
"""

from __future__ import annotations

import os
from pathlib import Path
from uuid import uuid4

from examples.photos.app import OUTPUT, app
from examples.photos.camera import BROKEN, NAMES, break_file
from examples.photos.camera import take_photo as point_and_shoot
from examples.photos.pictures import BrokenPhoto, Photo, Report, develop, read_gallery
from examples.photos.sheet import draw_sheet
from examples.photos.web.albums import Album, Albums
from mainspring import Bury, Context, Debounce, Limits, Retry

__all__ = ["ALBUM_QUEUE", "CAMERA_ROLL", "SHEET_QUEUE", "add_photo", "albums", "app", "draw_album", "take_photo"]

ALBUM_QUEUE, SHEET_QUEUE = "albums", "sheets"
CAMERA_ROLL = (*NAMES, BROKEN)
"""What the photos are called that the example takes itself; the last one is broken."""
CAMERA_WIDTH, CAMERA_HEIGHT = map(int, os.environ.get("PHOTOS_CAMERA", "3200x2400").split("x"))

albums = Albums(OUTPUT)

# Albums take turns: whoever drops a hundred photos makes nobody wait who drops one.
app.queue(ALBUM_QUEUE, partition="album")
app.queue(SHEET_QUEUE, partition="album", per_partition=Limits(concurrency=1))


@app.task(queue=ALBUM_QUEUE, retry=Retry(attempts=3, delay="1s"))
def add_photo(ctx: Context, album: str, photo: str, name: str) -> Photo:
    """Thumbnails and colours of one photo, whose original is there."""
    return _add(ctx, _find(album), photo, name, ctx.progress)


@app.task(queue=ALBUM_QUEUE, retry=Retry(attempts=3, delay="1s"))
def take_photo(ctx: Context, album: str, photo: str, name: str, seed: int) -> Photo:
    """Take one of the `CAMERA_ROLL`, then the same. An original that is there already is not taken again: a visitor
    may have put it in the place of the broken one."""
    place = _find(album)
    original = place.original(photo)
    if not original.exists():
        ctx.progress(0, "taking the picture")
        _take(original, name, seed)
    return _add(ctx, place, photo, name, lambda percent, text: ctx.progress(40 + 0.6 * percent, text))


@app.task(
    queue=SHEET_QUEUE,
    retry=Retry(attempts=3, delay="1s"),
    debounce=Debounce("1s", max_delay="10s", by=("album",)),
)
def draw_album(ctx: Context, album: str) -> int:
    """The contact sheet of what the album has by now; gives the number of photos."""
    place = _find(album)
    photos = read_gallery(place.gallery)
    draw_sheet(photos, place.sheet, "Your photos", ctx.progress)
    return len(photos)


def _find(album: str) -> Album:
    found = albums.get(album)
    if found is None:
        raise Bury("the album has been deleted")
    return found


def _add(ctx: Context, album: Album, photo: str, name: str, report: Report) -> Photo:
    try:
        done = develop(album.original(photo), album.gallery, report, name)
    except BrokenPhoto as broken:
        raise Bury(str(broken)) from broken
    ctx.spawn(draw_album.job(album.id))
    return done


def _take(original: Path, name: str, seed: int) -> None:
    number = CAMERA_ROLL.index(name)
    scratch = original.with_name(f".{uuid4().hex}{Path(name).suffix}")  # seen by nobody until it is whole
    try:
        point_and_shoot(scratch, seed, number % len(NAMES), (CAMERA_WIDTH, CAMERA_HEIGHT))
        if name == BROKEN:
            break_file(scratch)
        scratch.replace(original)
    finally:
        scratch.unlink(missing_ok=True)
