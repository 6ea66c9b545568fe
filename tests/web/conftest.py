"""What tests of the web share: apps on a real server, and a real browser to look at them.

A test that asks for a browser is marked `browser` by that; `make test` leaves it out, `make test-web` runs it. It must
be a plain function: playwright's blocking API cannot run inside an event loop.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from servers.asgi import serving

from mainspring import Mainspring
from mainspring.web import create_app
from web.browsing import FLAGS, SCREENSHOTS, Console, chromium_program

TIMEOUT_MS = 60_000
"""How long a page may take to show what is waited for; this is a bound on busy machines, not an expectation."""

FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests with a browser come last: while playwright runs, no event loop can be started on this thread."""
    for item in items:
        if "chromium" in getattr(item, "fixturenames", ()):
            if inspect.iscoroutinefunction(getattr(item, "function", None)):
                raise pytest.UsageError(f"{item.nodeid}: a test with a browser must not be async")
            item.add_marker("browser")
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """`serve(app, **options)` is the URL of the app's web; any other ASGI app is served as it is."""
    with ExitStack() as servers:

        def start(app: Any, **options: Any) -> str:
            return servers.enter_context(serving(create_app(app, **options) if isinstance(app, Mainspring) else app))

        yield start


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One browser for all tests."""
    program = chromium_program()
    expect.set_options(timeout=TIMEOUT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS, timeout=100_000)
        yield browser
        browser.close()


@pytest.fixture
def console(request: pytest.FixtureRequest) -> Iterator[Console]:
    """What pages complain of; whatever was not expected fails the test."""
    console = Console()
    yield console
    if console.complaints and not request.node.stash.get(FAILED, False):
        pytest.fail("\n".join(["the browser's console has errors:", *console.complaints]), pytrace=False)


@pytest.fixture
def context(
    chromium: Browser, serve: object, console: Console, request: pytest.FixtureRequest
) -> Iterator[Callable[..., BrowserContext]]:
    """`context(width=390, colours="dark", …)` is a browser of its own: cookies, storage, network."""
    contexts: list[BrowserContext] = []

    def open_context(
        *, width: int = 1280, height: int = 800, colours: str = "light", javascript: bool = True, **options: Any
    ) -> BrowserContext:
        context = chromium.new_context(
            viewport={"width": width, "height": height},
            color_scheme=colours,
            java_script_enabled=javascript,
            reduced_motion=options.pop("reduced_motion", "reduce"),  # nothing is looked at half way
            locale=options.pop("locale", "en-GB"),
            **options,
        )
        context.set_default_timeout(TIMEOUT_MS)
        console.listen(context)
        contexts.append(context)
        return context

    yield open_context
    if request.node.stash.get(FAILED, False) or console.complaints:
        _show(request.node.nodeid, [page for context in contexts for page in context.pages], console)
    for context in contexts:
        context.close()


@pytest.fixture
def page(context: Callable[..., BrowserContext]) -> Callable[..., Page]:
    """`page(url, width=390, colours="dark", …)` is a page in a browser of its own, opened there."""

    def open_page(url: str | None = None, **options: Any) -> Page:
        page = context(**options).new_page()
        if url is not None:
            page.goto(url)
        return page

    return open_page


def _show(test: str, pages: list[Page], console: Console) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^\w.-]+", "-", test.rpartition("/")[2])
    for number, page in enumerate(pages, 1):
        file = SCREENSHOTS / f"{name}-{number}.png"
        page.screenshot(path=file, full_page=True)
        print(f"{page.url} is shown in {file}", *console.complaints, sep="\n  ")
