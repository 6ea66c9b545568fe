"""The photo example's page, asked as a browser asks: the real command, a real worker."""

from __future__ import annotations

import io
import itertools
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image
from servers.photos import PhotoSite, kill, lives, photo_site, wait_for

from examples.photos.camera import BROKEN, NAMES
from examples.photos.web.albums import MAX_BYTES, MAX_PHOTOS, Albums, is_picture, shown_name
from mainspring import Mainspring

HTML = {"Accept": "text/html"}

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PhotoSite]:
    with photo_site(tmp_path_factory.mktemp("photos") / "out") as site:
        yield site


@pytest.fixture
def client(site: PhotoSite) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=site.url, timeout=60) as client:
        yield client


@pytest.fixture
def album(client: httpx.Client) -> str:
    """The address of a new album."""
    return client.post("/albums").headers["Location"]


def picture(kind: str = "JPEG", size: tuple[int, int] = (320, 240), colour: str = "#c04020") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, kind)
    return file.getvalue()


def states(page: str) -> list[str]:
    return re.findall(r'<li class="tile (\w+)" id=', page)


def settled(client: httpx.Client, album: str) -> Callable[[], bool]:
    """Whether all photos have ended, and a contact sheet lies there that none will follow."""

    def look() -> bool:
        page = client.get(album).text
        return "working" not in states(page) and "data-pdf" in page

    return look


# --- an album ---


def test_photos_become_a_gallery_and_a_sheet(client: httpx.Client, album: str) -> None:
    """Nobody asks for the sheet, and nobody has to look at the page meanwhile."""
    for kind in ("JPEG", "PNG", "WEBP"):
        answer = client.post(f"{album}/photos", params={"name": f"a.{kind.lower()}"}, content=picture(kind))
        assert answer.status_code == 201
        assert states(answer.text) == ["working"]
    wait_for(settled(client, album))
    page = client.get(album).text
    assert states(page) == ["done"] * 3
    for address in re.findall(r'src="(/albums[^"]*)"', page):
        thumbnail = client.get(address)
        assert thumbnail.headers["Content-Type"] == "image/webp"
        with Image.open(io.BytesIO(thumbnail.content)) as opened:
            assert opened.size == (320, 240)
    sheet = client.get(f"{album}/contact-sheet.pdf")
    assert sheet.headers["Content-Type"] == "application/pdf"
    assert sheet.content.startswith(b"%PDF")


def test_a_sheet_that_is_replaced_while_it_is_sent_comes_whole(
    site: PhotoSite, client: httpx.Client, album: str
) -> None:
    folder, done = site.out / album.strip("/"), threading.Event()
    sheets = [b"%PDF" + bytes(size) for size in (10, 200_000)]

    def replace() -> None:
        for turn in itertools.count():
            (folder / "next").write_bytes(sheets[turn % 2])
            (folder / "next").replace(folder / "contact-sheet.pdf")
            if done.is_set():
                break

    replacing = threading.Thread(target=replace)
    replacing.start()
    try:
        wait_for(lambda: client.get(f"{album}/contact-sheet.pdf").status_code == 200)
        for _ in range(100):
            assert client.get(f"{album}/contact-sheet.pdf").content in sheets
    finally:
        done.set()
        replacing.join()


def test_albums_have_a_sheet_each(site: PhotoSite, client: httpx.Client) -> None:
    """Also when they are filled at the same time."""
    albums = [client.post("/albums").headers["Location"] for _ in range(3)]
    for _ in range(2):
        for album in albums:
            client.post(f"{album}/photos", content=picture())
    for album in albums:
        wait_for(settled(client, album))
    with Mainspring(site.store) as app:
        for album in albums:
            newest = app.jobs.find(queue="sheets", partition=Path(album).name, limit=1)[0]
            assert (newest.args, newest.result(timeout=0)) == ({"album": Path(album).name}, 2)


def test_a_broken_photo_says_why_and_can_be_tried_again_or_replaced(client: httpx.Client, album: str) -> None:
    whole = picture(size=(640, 480))
    tile = client.post(f"{album}/photos", params={"name": "cut.jpg"}, content=whole[: len(whole) // 2]).text
    (place,) = re.findall(r'data-tile="([^"]*)"', tile)

    wait_for(lambda: states(client.get(place).text) == ["wrong"])
    assert re.search(r'class="reason">cut\.jpg is broken: .*truncated', client.get(place).text)
    assert "No photo was developed" in client.get(f"{album}/summary").text

    assert client.post(f"{place}/retry").status_code == 303
    wait_for(lambda: states(client.get(place).text) == ["wrong"])
    assert client.put(place, content=whole).status_code == 200
    wait_for(settled(client, album))
    assert states(client.get(place).text) == ["done"]
    assert client.post(f"{place}/retry").status_code == client.put(place, content=whole).status_code == 409


def test_the_camera_takes_a_dozen_and_breaks_one(client: httpx.Client) -> None:
    """It works from a form too, without a script."""
    answer = client.post("/camera")
    assert answer.status_code == 303
    album = answer.headers["Location"]
    assert len(states(client.get(album).text)) == len(NAMES) + 1
    wait_for(settled(client, album))
    page = client.get(album).text
    assert states(page) == ["done"] * len(NAMES) + ["wrong"]
    assert f"{BROKEN} is broken" in page


def test_what_is_done_outlives_the_job_that_did_it(site: PhotoSite, client: httpx.Client, album: str) -> None:
    """Completed jobs are kept for a day, albums for a week."""
    client.post(f"{album}/photos", params={"name": "kept.jpg"}, content=picture())
    wait_for(settled(client, album))
    with Mainspring(site.store) as app:
        for queue in ("albums", "sheets"):
            assert app.jobs.delete(queue=queue, partition=Path(album).name) == 1
    page = client.get(album).text
    assert states(page) == ["done"]
    assert "kept.jpg" in page
    assert "data-pdf" in page


# --- what may come in ---


@pytest.mark.parametrize(
    ("content", "status", "why"),
    [
        (b"", 415, "empty"),
        (b"GIF89a not one of these", 415, "not a JPEG, PNG or WebP"),
        (b"<svg onload='alert(1)'/>", 415, "not a JPEG, PNG or WebP"),
    ],
)
def test_what_is_no_photo_is_refused(client: httpx.Client, album: str, content: bytes, status: int, why: str) -> None:
    answer = client.post(f"{album}/photos", params={"name": "a.jpg"}, content=content)
    assert (answer.status_code, why in answer.text) == (status, True)
    assert states(client.get(album).text) == []


def test_a_photo_that_is_too_large_is_refused_however_it_comes(
    site: PhotoSite, client: httpx.Client, album: str
) -> None:
    """Whether it says so beforehand or not; nothing of it stays."""
    folder = site.out / "albums" / Path(album).name
    piece = picture() + bytes(1_000_000)

    def endless() -> Iterator[bytes]:
        for _ in range(MAX_BYTES // len(piece) + 1):
            yield piece

    assert client.post(f"{album}/photos", content=b"".join(endless())).status_code == 413
    assert client.post(f"{album}/photos", content=endless()).status_code == 413
    assert [path for name in ("originals", "reserved") for path in (folder / name).iterdir()] == []


def test_names_are_text_and_nothing_else(site: PhotoSite, client: httpx.Client, album: str) -> None:
    """Files are called as we please; what is shown has no markup, no path and no marks that turn it round."""
    names = ["../../../etc/passwd", "/etc/passwd", "C:\\Windows\\win.ini", "<img src=x onerror=alert(1)>.jpg",
             "a\u202egpj.exe", "\x00", "x" * 300 + ".jpg", "'\" onload='alert(1)", ""]  # fmt: skip
    for name in names:
        assert client.post(f"{album}/photos", params={"name": name}, content=picture()).status_code == 201
    wait_for(settled(client, album))
    folder = site.out / "albums" / Path(album).name
    ids = [f"{number + 1:04}" for number in range(len(names))]
    assert sorted(path.name for path in (folder / "originals").iterdir()) == ids
    assert sorted(path.name for path in (folder / "gallery").iterdir()) == ids
    tiles = client.get(album).text.partition("data-tiles")[2].partition("</ul>")[0]
    shown = re.findall(r'<p class="name">(.*?)</p>', tiles)
    assert shown[:3] == ["passwd", "passwd", "win.ini"]
    assert len(shown) == len(names)
    for each in shown:
        assert not re.search(r"[<>\"'/\u202e\x00]", each)
        assert 0 < len(each) < 120


def test_an_album_has_room_for_so_many_and_no_more(tmp_path: Path) -> None:
    album = Albums(tmp_path).new()
    assert [album.reserve() for _ in range(MAX_PHOTOS)] == [f"{number:04}" for number in range(1, MAX_PHOTOS + 1)]
    assert album.reserve() is None
    album.release("0007")
    assert album.reserve() == "0007"


def test_a_long_name_keeps_its_ending() -> None:
    assert shown_name("x" * 300 + ".jpeg") == "x" * 72 + "…xx.jpeg"
    assert shown_name("holidays/2026\\Größe.jpg") == "Größe.jpg"
    assert is_picture(picture("WEBP"))
    assert not is_picture(b"RIFF....WAVE")


# --- who may look ---


@pytest.mark.parametrize("id", ["nobody", "%2e%2e", "..%2f..", "A" * 22, "a%00b"])
def test_an_album_is_found_by_its_own_address_alone(client: httpx.Client, id: str) -> None:
    for path in ("", "/summary", "/photos/0001", "/photos/0001/small.webp", "/contact-sheet.pdf"):
        assert client.get(f"/albums/{id}{path}", headers=HTML).status_code == 404


@pytest.mark.parametrize(
    "path", ["photos/x", "photos/x/small.webp", "photos/%2e%2e/small.webp", "photos/0001/huge.webp", "..%2fsecret"]
)
def test_an_album_shows_its_photos_alone(client: httpx.Client, album: str, path: str) -> None:
    assert client.get(f"{album}/{path}").status_code in (404, 422)


def test_other_sites_and_other_names_are_refused(client: httpx.Client, album: str) -> None:
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Host": "photos.example"}):
        for path in ("/albums", "/camera", f"{album}/photos"):
            assert client.post(path, headers=headers, content=picture()).status_code == 403
    for host in ("photos.example", "localhost.example", "127.0.0.1.example", "[::1", "a@localhost"):
        assert client.get("/", headers={"Host": host}).status_code == 403


def test_browsers_are_told_to_run_nothing_of_others(client: httpx.Client, album: str) -> None:
    for path in ("/", album, f"{album}/summary", "/static/photos.js", "/albums/nobody"):
        policy = client.get(path).headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy


# --- starting and stopping ---


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_all_that_it_started(tmp_path: Path, number: signal.Signals) -> None:
    with photo_site(tmp_path / "out") as site:
        stop(site, number)


def test_it_goes_on_where_it_was(tmp_path: Path) -> None:
    """Ctrl-C in the middle of it, and another start: every photo is done once it has been taken."""
    with photo_site(tmp_path / "out") as site, httpx.Client(base_url=site.url, timeout=60) as client:
        album = client.post("/camera").headers["Location"]
        stop(site, signal.SIGINT)
    with Mainspring(site.store) as app:
        assert app.jobs.count(state="running") == 0
    with photo_site(tmp_path / "out") as site, httpx.Client(base_url=site.url, timeout=60) as client:
        assert len(states(client.get(album).text)) == len(NAMES) + 1
        wait_for(settled(client, album))
        assert states(client.get(album).text) == ["done"] * len(NAMES) + ["wrong"]


def stop(site: PhotoSite, number: signal.Signals) -> None:
    """End it as its user does; nothing is left, and nothing complained of."""
    family = site.family
    assert family
    site.process.send_signal(number)
    assert site.process.wait(60) == 0
    assert site.process.stderr is not None
    assert site.process.stderr.read() == ""
    assert not any(map(lives, family))


def test_one_that_is_killed_leaves_no_worker_behind(tmp_path: Path) -> None:
    """Or there were two after the next start, and three after the one that follows."""
    with photo_site(tmp_path / "out") as site:
        family = site.family
        site.process.kill()
        site.process.wait()
        wait_for(lambda: not any(map(lives, family)))


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with photo_site(tmp_path / "out", "--port", str(port)) as site:
            assert site.process.wait(60) == 2
            assert site.process.stderr is not None
            assert f"cannot listen on port {port}" in site.process.stderr.read()


def test_a_worker_that_dies_is_noticed(tmp_path: Path) -> None:
    with photo_site(tmp_path / "out") as site:
        kill(site.family)
        assert site.process.wait(60) == 1
        assert site.process.stderr is not None
        errors = site.process.stderr.read()
    assert "the worker ended by itself" in errors
    assert "Traceback" not in errors
