"""The photo example in a browser: from the first photo to the PDF, whatever tabs and networks do meanwhile."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import BrowserContext, Page, expect
from servers.photos import PhotoSite, photo_site, wait_for
from servers.proxy import Proxy

from mainspring import Mainspring
from web.browsing import Console, assert_accessible

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PhotoSite]:
    with photo_site(tmp_path_factory.mktemp("photos") / "out") as site:
        yield site


@pytest.fixture
def paused(site: PhotoSite) -> Iterator[Mainspring]:
    """The page's jobs; photos wait until `resume`."""
    with Mainspring(site.store) as app:
        app.queues.pause("albums")
        yield app
        app.queues.resume("albums")


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """Four on disk; the last one is broken."""
    chance = random.Random(5)
    paths = [tmp_path / name for name in ("Hafen.jpg", "boat & buoy.png", "dusk.webp", "cut short.jpg")]
    for path in paths:
        noise = Image.frombytes("RGB", (40, 30), chance.randbytes(3600)).resize((1600, 1200), Image.Resampling.BICUBIC)
        noise.save(path)
    paths[-1].write_bytes(paths[-1].read_bytes()[:20_000])
    return paths


def choose(page: Page, files: list[Path]) -> None:
    page.get_by_label("Choose photos").set_input_files(files)


def test_from_the_first_photo_to_the_pdf(site: PhotoSite, page: Callable[..., Page], photos: list[Path]) -> None:
    """The broken one says why and is replaced, and the sheet comes by itself."""
    shown = page(site.url)
    expect(shown.get_by_role("heading", level=1)).to_have_text("Drop your photos. Close the tab.")
    choose(shown, photos)
    expect(shown).to_have_url(re.compile("/albums/"))
    expect(shown.get_by_role("listitem")).to_have_count(4)
    expect(shown.locator(".tile.done")).to_have_count(3)
    broken = shown.locator(".tile.wrong")
    expect(broken).to_contain_text("cut short.jpg is broken")
    expect(shown.get_by_text("3 of 4 developed · 1 went wrong")).to_be_visible()
    expect(shown.get_by_role("link", name="Contact sheet, PDF")).to_be_visible()

    before = broken.element_handle()
    broken.get_by_role("button", name="Try cut short.jpg again").click()
    before.wait_for_element_state("hidden")
    expect(broken).to_contain_text("cut short.jpg is broken")
    broken.get_by_label("Another copy of cut short.jpg").set_input_files(photos[0])
    expect(shown.locator(".tile.done")).to_have_count(4)
    link = shown.get_by_role("link", name="Contact sheet, PDF")
    expect(link).to_be_visible()
    sheet = shown.request.get(link.evaluate("link => link.href"))
    assert sheet.body().startswith(b"%PDF")


def test_a_bar_moves_while_its_photo_is_developed(
    site: PhotoSite, page: Callable[..., Page], photos: list[Path], paused: Mainspring
) -> None:
    with Image.open(photos[0]) as small:
        small.resize((6000, 4500)).save(photos[0])  # so that it takes a moment
    moved: list[float] = []
    for _ in range(3):  # a machine that is busy just then may not see it move
        shown = page(site.url)
        choose(shown, photos[:1])
        expect(shown.locator(".tile mainspring-progress[state=queued]")).to_have_count(1)
        shown.evaluate(
            """() => {
              window.moved = [];
              document.addEventListener("job-progress", ({ target, detail }) => {
                if (target.closest(".tile")) moved.push(detail.progress ?? 0);
              });
            }"""
        )
        paused.queues.resume("albums")
        expect(shown.locator(".tile.done")).to_have_count(1)
        moved = shown.evaluate("moved")
        assert moved == sorted(moved)
        if any(0 < each < 100 for each in moved):
            break
        paused.queues.pause("albums")
    assert any(0 < each < 100 for each in moved)


@pytest.mark.parametrize(("width", "colours"), [(1280, "light"), (390, "dark")])
def test_it_can_be_used_by_everybody(
    site: PhotoSite, page: Callable[..., Page], photos: list[Path], paused: Mainspring, width: int, colours: str
) -> None:
    """Empty, while photos wait, and when they are done; nothing is wider than the screen."""
    shown = page(site.url, width=width, colours=colours)
    assert_accessible(shown)
    choose(shown, photos)
    expect(shown.locator(".tile.working")).to_have_count(4)
    assert_accessible(shown)
    paused.queues.resume("albums")
    expect(shown.get_by_role("link", name="Contact sheet, PDF")).to_be_visible()
    expect(shown.locator(".tile.wrong")).to_have_count(1)
    expect(shown.locator(".tile.done")).to_have_count(3)
    assert_accessible(shown)
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    shown.get_by_role("link", name="Hafen.jpg").click()
    expect(shown.get_by_role("dialog")).to_be_visible()
    assert_accessible(shown)
    shown.keyboard.press("ArrowRight")
    expect(shown.get_by_role("dialog").get_by_role("figure")).to_contain_text("boat & buoy.png")
    shown.keyboard.press("Escape")
    expect(shown.get_by_role("link", name="boat & buoy.png")).to_be_focused()


def test_photos_are_dropped(site: PhotoSite, page: Callable[..., Page], photos: list[Path]) -> None:
    """What is too large, or no picture, is refused, and says so where it lies."""
    shown = page(site.url)
    content = list(photos[0].read_bytes())
    shown.evaluate(
        """(content) => {
          const dropped = new DataTransfer();
          dropped.items.add(new File([new Uint8Array(content)], "dropped.jpg", { type: "image/jpeg" }));
          dropped.items.add(new File([new Uint8Array(31_000_000)], "huge.jpg", { type: "image/jpeg" }));
          const options = { dataTransfer: dropped, bubbles: true, cancelable: true };
          for (const type of ["dragenter", "dragover", "drop"])
            document.body.dispatchEvent(new DragEvent(type, options));
        }""",
        content,
    )
    expect(shown.locator(".tile.done")).to_contain_text("dropped.jpg")
    refused = shown.locator(".tile.wrong")
    expect(refused).to_contain_text("Not sent: it has more than 30 MB")
    expect(refused.get_by_role("button", name="Send it again")).to_be_hidden()
    refused.get_by_role("button", name="Take it away").click()
    expect(shown.get_by_role("listitem")).to_have_count(1)


def test_a_file_that_is_no_photo_says_so(
    site: PhotoSite, page: Callable[..., Page], tmp_path: Path, console: Console
) -> None:
    console.expect("status of 415")
    (tmp_path / "<img src=x onerror=alert(1)>.jpg").write_text("<script>alert(1)</script>")
    shown = page(site.url)
    choose(shown, list(tmp_path.glob("*.jpg")))
    refused = shown.locator(".tile.wrong")
    expect(refused).to_contain_text("Not sent: it is not a JPEG, PNG or WebP picture")
    expect(refused).to_contain_text("<img src=x onerror=alert(1)>.jpg")


def test_photos_that_wait_keep_no_others_from_coming(
    site: PhotoSite, page: Callable[..., Page], photos: list[Path], paused: Mainspring
) -> None:
    """A browser has six connections to a server: a dozen bars leave room for the next photo, and the next page."""
    shown = page(site.url)
    choose(shown, photos[:3] * 4)
    expect(shown.locator(".tile.working")).to_have_count(12)
    expect(shown.get_by_text("0 of 12 developed")).to_be_visible()
    shown.context.new_page().goto(site.url)


def test_the_tab_is_closed_and_opened_again(
    site: PhotoSite, context: Callable[..., BrowserContext], photos: list[Path], paused: Mainspring
) -> None:
    """The front page knows the way back; what happened meanwhile is there, and the rest is seen to happen."""
    browser = context()
    first = browser.new_page()
    first.goto(site.url)
    choose(first, photos[:2])
    expect(first.locator(".tile.working")).to_have_count(2)
    address = first.url
    first.close()

    second = browser.new_page()
    second.goto(site.url)
    second.get_by_role("link", name="Your last album").click()
    expect(second).to_have_url(address)
    expect(second.locator(".tile.working")).to_have_count(2)
    second.close()

    paused.queues.resume("albums")
    wait_for(lambda: paused.jobs.count(queue="sheets", partition=address.rpartition("/")[2], state="completed"))
    third = browser.new_page()
    third.goto(address)
    expect(third.locator(".tile.done")).to_have_count(2)
    expect(third.get_by_role("link", name="Contact sheet, PDF")).to_be_visible()


def test_two_tabs_show_the_same_album(
    site: PhotoSite, context: Callable[..., BrowserContext], photos: list[Path], paused: Mainspring
) -> None:
    """What is dropped into one of them is seen in the other as well."""
    browser = context()
    one, other = browser.new_page(), browser.new_page()
    one.goto(site.url)
    choose(one, photos[:1])
    expect(one.locator(".tile.working")).to_have_count(1)
    other.goto(one.url)
    choose(one, photos[1:3])
    expect(one.locator(".tile.working")).to_have_count(3)
    expect(other.get_by_role("listitem")).to_have_count(1)
    paused.queues.resume("albums")
    for tab in (one, other):
        expect(tab.locator(".tile.done")).to_have_count(3)
        expect(tab.get_by_role("link", name="Contact sheet, PDF")).to_be_visible()
    ids = "[...document.querySelectorAll('[data-tile]')].map((tile) => tile.id).sort()"
    assert one.evaluate(ids) == other.evaluate(ids)


def test_an_album_can_be_read_without_a_script(site: PhotoSite, page: Callable[..., Page]) -> None:
    """And begun, by the camera."""
    shown = page(site.url, javascript=False)
    shown.get_by_role("button", name="Take some for me").click()
    expect(shown.get_by_role("listitem")).to_have_count(13)
    expect(shown.get_by_label("Choose photos")).to_be_hidden()

    def done() -> bool:
        shown.reload()
        tiles = [shown.locator(f".tile.{kind}").count() for kind in ("done", "wrong")]
        return tiles == [12, 1] and shown.get_by_role("link", name="Contact sheet").count() > 0

    wait_for(done)
    expect(shown.locator(".tile.wrong")).to_contain_text("IMG_2052.JPG is broken")


def test_a_network_that_breaks_loses_nothing(
    site: PhotoSite, page: Callable[..., Page], photos: list[Path], paused: Mainspring, console: Console
) -> None:
    """All connections are cut while photos wait, and refused for a moment; they are done meanwhile, and shown."""
    console.expect("Failed to load resource|WebSocket|ERR_")
    proxy = Proxy("127.0.0.1", int(site.url.rpartition(":")[2]))
    try:
        shown = page(f"http://127.0.0.1:{proxy.port}")
        choose(shown, photos[:3])
        expect(shown.locator(".tile.working")).to_have_count(3)
        proxy.refuses = True
        proxy.cut()
        paused.queues.resume("albums")
        album = shown.url.rpartition("/")[2]
        wait_for(lambda: paused.jobs.count(queue="sheets", partition=album, state="completed"))
        expect(shown.locator(".tile.working")).to_have_count(3)
        proxy.refuses = False
        expect(shown.locator(".tile.done")).to_have_count(3)
        expect(shown.get_by_role("link", name="Contact sheet, PDF")).to_be_visible()
    finally:
        proxy.close()


BREAKS_OFF = """
const ask = fetch;
window.brokeOff = 0;
window.fetch = async (...what) => {
  const answer = await ask(...what);
  if (String(what[0]).endsWith("/summary") && brokeOff++ === 0)
    answer.text = () => Promise.reject(new TypeError("Failed to fetch"));
  return answer;
};
"""
"""The first summary comes in part only: its head, and not all of its body."""


def test_an_answer_that_breaks_off_is_asked_for_again(
    site: PhotoSite, page: Callable[..., Page], photos: list[Path], paused: Mainspring
) -> None:
    shown = page()
    shown.add_init_script(BREAKS_OFF)
    shown.goto(site.url)
    choose(shown, photos[:1])
    expect(shown.get_by_text("0 of 1 developed")).to_be_visible()
    assert shown.evaluate("brokeOff") >= 2
