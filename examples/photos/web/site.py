"""The page of the photo example, with the dashboard of the same app mounted at /jobs.

Pages are made here, from templates, also the parts that change while somebody looks: a browser asks for a tile again
when its job has ended. So everything can be read without JavaScript, and one place says how a photo looks.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from fastapi.templating import Jinja2Templates
from starlette.exceptions import HTTPException as StarletteHTTPException

from examples.photos.web.albums import MAX_BYTES, MAX_PHOTOS, Album, shown_name
from examples.photos.web.arrivals import receive
from examples.photos.web.guard import Guard
from examples.photos.web.jobs import CAMERA_ROLL, add_photo, albums, take_photo
from examples.photos.web.view import PhotoView, see_album, see_photo
from mainspring import Job, Mainspring
from mainspring.web import create_app, job_url

__all__ = ["site"]

HERE = Path(__file__).parent
JOBS = "/jobs"
"""Where the dashboard and the API are."""
TICKET_LIFE = timedelta(hours=12)

templates = Jinja2Templates(HERE / "templates")
router = APIRouter(default_response_class=HTMLResponse)


def site(app: Mainspring, *, secret: str | None = None, **web_options: Any) -> FastAPI:
    """The page as an ASGI app; `secret` and `web_options` are those of `mainspring.web.create_app`."""

    @asynccontextmanager
    async def life(pages: FastAPI) -> AsyncIterator[None]:
        yield
        await app.aclose()

    pages = FastAPI(title="Photos", docs_url=None, redoc_url=None, openapi_url=None, lifespan=life)
    pages.add_exception_handler(StarletteHTTPException, _complain)
    pages.state.jobs, pages.state.secret = app, secret
    pages.include_router(router)
    pages.mount("/static", StaticFiles(directory=HERE / "static"), name="static")
    pages.mount(JOBS, create_app(app, title="Photos", secret=secret, **web_options))
    pages.add_middleware(Guard, elsewhere=JOBS)
    return pages


def _album(album: str) -> Album:
    found = albums.get(album)
    if found is None:
        raise HTTPException(404, "There is no such album.")
    return found


AlbumAt = Annotated[Album, Depends(_album)]


def _jobs(request: Request) -> Mainspring:
    app: Mainspring = request.app.state.jobs
    return app


Jobs = Annotated[Mainspring, Depends(_jobs)]


@router.get("/")
async def front(request: Request) -> Response:
    """The page, with an album that begins with the first photo."""
    return _render(request, "page.html", view=None)


@router.post("/albums")
async def begin() -> Response:
    """Begin an album; its address is in the answer's head."""
    return Response(status_code=201, headers={"Location": _address(albums.new())})


@router.post("/camera")
async def begin_with_camera(jobs: Jobs) -> Response:
    """Begin an album with photos that the example takes."""
    return await use_camera(albums.new(), jobs)


@router.get("/albums/{album}")
async def show(request: Request, album: AlbumAt, jobs: Jobs) -> Response:
    """The page of an album, as it stands."""
    return _render(request, "page.html", view=await see_album(jobs, album))


@router.get("/albums/{album}/summary")
async def show_summary(request: Request, album: AlbumAt, jobs: Jobs) -> Response:
    """The part of that page that speaks of all photos."""
    return _render(request, "summary.html", view=await see_album(jobs, album))


@router.post("/albums/{album}/camera")
async def use_camera(album: AlbumAt, jobs: Jobs) -> Response:
    """Take photos, as many as there is room for, each in a job; then show the album."""
    seed = secrets.randbelow(1_000_000)
    places = [(album.reserve(), name) for name in CAMERA_ROLL]
    await jobs.aenqueue_many(
        [take_photo.job(album.id, photo, name, seed) for photo, name in places if photo is not None]
    )
    return RedirectResponse(_address(album), 303)


@router.post("/albums/{album}/photos")
async def add(request: Request, album: AlbumAt, name: str = "") -> Response:
    """Take a photo, which is the body of the request, and have it developed; gives its tile."""
    photo = album.reserve()
    if photo is None:
        raise HTTPException(409, f"an album has room for {MAX_PHOTOS} photos, and this one is full")
    try:
        await receive(request, album.original(photo))
    except BaseException:
        album.release(photo)
        raise
    shown = shown_name(name)
    job = await add_photo.aenqueue(album.id, photo, shown)
    return _render(request, "tile.html", 201, album=album, photo=PhotoView(photo, shown, job, None))


@router.get("/albums/{album}/photos/{photo}")
async def show_photo(request: Request, album: AlbumAt, photo: str, jobs: Jobs) -> Response:
    """The tile of one photo, as it stands."""
    return _render(request, "tile.html", album=album, photo=await _photo(jobs, album, photo))


@router.put("/albums/{album}/photos/{photo}")
async def replace(request: Request, album: AlbumAt, photo: str, jobs: Jobs) -> Response:
    """Put the body of the request in the place of a photo that went wrong, and try again; gives its tile."""
    await _gone_wrong(jobs, album, photo)
    await receive(request, album.original(photo))
    await (await _gone_wrong(jobs, album, photo)).aretry()
    return await show_photo(request, album, photo, jobs)


@router.post("/albums/{album}/photos/{photo}/retry")
async def retry(album: AlbumAt, photo: str, jobs: Jobs) -> Response:
    """Try again with a photo that went wrong; then show the album."""
    await (await _gone_wrong(jobs, album, photo)).aretry()
    return RedirectResponse(_address(album), 303)


@router.get("/albums/{album}/photos/{photo}/{size}.webp")
def show_picture(album: AlbumAt, photo: str, size: Literal["small", "medium", "large"]) -> Response:
    """A photo, made smaller."""
    try:
        path = album.thumbnail(photo, size)
    except ValueError as error:
        raise HTTPException(404, str(error)) from None
    return _file(path, "image/webp", "There is no such photo.")


@router.get("/albums/{album}/contact-sheet.pdf")
def show_sheet(album: AlbumAt) -> Response:
    """The contact sheet."""
    return _file(album.sheet, "application/pdf", "There is no contact sheet yet.")


async def _complain(request: Request, error: Any) -> Response:
    """A page for those who followed a link, else the bare text."""
    if "text/html" in request.headers.get("accept", ""):
        return templates.TemplateResponse(request, "error.html", {"detail": error.detail}, error.status_code)
    return PlainTextResponse(error.detail, error.status_code)


async def _photo(jobs: Mainspring, album: Album, photo: str) -> PhotoView:
    found = await see_photo(jobs, album, photo)
    if found is None:
        raise HTTPException(404, "There is no such photo.")
    return found


async def _gone_wrong(jobs: Mainspring, album: Album, photo: str) -> Job[Any]:
    found = await _photo(jobs, album, photo)
    if found.job is None or found.state != "wrong":
        raise HTTPException(409, "this photo has not gone wrong")
    return found.job


def _file(path: Path, media_type: str, complaint: str) -> Response:
    """All of it as it is now: a newer one may take its place while it is sent."""
    try:
        return Response(path.read_bytes(), media_type=media_type)
    except FileNotFoundError:
        raise HTTPException(404, complaint) from None


def _address(album: Album) -> str:
    return f"/albums/{album.id}"


def _render(request: Request, template: str, status: int = 200, **values: Any) -> Response:
    def watch(job: Job[Any]) -> str:
        """Where whoever sees this page hears of that job, and of no other."""
        secret: str | None = request.app.state.secret
        return job_url(job, JOBS, TICKET_LIFE, secret=secret, log=False, result=False)

    values |= {"watch": watch, "most": MAX_PHOTOS, "most_bytes": MAX_BYTES}
    return templates.TemplateResponse(request, template, values, status)
