"""Two people in two browsers, each with a ticket for a job of his own; and a network that does not hold."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from playwright.sync_api import BrowserContext, Page
from servers.photos import wait_for
from servers.proxy import Proxy

from mainspring import Context, Mainspring
from mainspring.web import create_app, job_url
from web.browsing import Console

PAGE = """<!doctype html><html lang="en"><title>Your cake</title><main><h1>Your cake</h1><ol></ol></main></html>"""

LISTEN = """(url) => {
  window.heard = { lines: [], progress: [], cuts: 0, end: null };
  const source = new EventSource(url);
  source.onerror = () => { heard.cuts += 1; };
  for (const name of ["snapshot", "progress"])
    source.addEventListener(name, (event) => heard.progress.push(JSON.parse(event.data).text));
  source.addEventListener("log", (event) => heard.lines.push(...JSON.parse(event.data).lines.map((line) => line.text)));
  source.addEventListener("done", (event) => { heard.end = JSON.parse(event.data); source.close(); });
}"""
"""What a page does that follows a job without any script of ours."""


class Bakery:
    """Cakes are baked, step by step, each when it is told to."""

    def __init__(self, url: str) -> None:
        self.app = Mainspring(url)
        self.steps: dict[str, threading.Semaphore] = {}

        @self.app.task
        def bake(ctx: Context, cake: str, steps: int) -> str:
            for step in range(steps):
                self.steps[cake].acquire(timeout=60)
                ctx.progress(100 * step / steps, f"{cake}, step {step}")
                ctx.log(f"{cake} {step}")
            return f"{cake}, baked"

        self.bake = bake

    def order(self, cake: str, steps: int = 4) -> str:
        """Gives the address of the job."""
        self.steps[cake] = threading.Semaphore(0)
        return job_url(self.bake.enqueue(cake, steps), "/jobs")


@pytest.fixture
def bakery(tmp_path: Path) -> Iterator[Bakery]:
    bakery = Bakery(f"sqlite:///{tmp_path}/jobs.db")
    worker = bakery.app.worker()
    thread = threading.Thread(target=lambda: asyncio.run(worker.arun()))
    thread.start()
    yield bakery
    worker.stop()
    thread.join()
    bakery.app.close()


@pytest.fixture
def url(bakery: Bakery, serve: Callable[..., str]) -> str:
    """An application whose visitors are nobody to the dashboard: all they have is a ticket."""
    shop = FastAPI()
    shop.mount("/jobs", create_app(bakery.app, auth=lambda request: None))

    @shop.get("/", response_class=HTMLResponse)
    def front() -> str:
        return PAGE

    return serve(shop)


def status(page: Page, url: str) -> int:
    """What a browser is answered that asks for this from that page."""
    code: int = page.evaluate(
        "(url) => fetch(url, { headers: { Accept: 'application/json' } }).then((it) => it.status)", url
    )
    return code


def heard(page: Page) -> dict[str, Any]:
    found: dict[str, Any] = page.evaluate("heard")
    return found


def test_two_people_see_each_his_own(bakery: Bakery, url: str, page: Callable[..., Page], console: Console) -> None:
    """The other's ticket opens nothing: not his job, nor the list of all, nor the dashboard."""
    console.expect("status of 40[13]")
    ann, bob = page(url), page(url)
    hers, his = bakery.order("sponge", 2), bakery.order("marble", 2)
    ann.evaluate(LISTEN, hers)
    bob.evaluate(LISTEN, his)
    ann.wait_for_function("heard.progress.length > 0")

    path, ticket = his.partition("?")[0], hers.partition("?")[2]
    assert status(ann, hers) == status(bob, his) == 200
    assert status(ann, f"{path}?{ticket}") == status(ann, path) == 403
    assert status(ann, f"{his}x") == 403
    for place in ("/jobs/api/v1/jobs", "/jobs/api/v1/queues", "/jobs/jobs"):
        assert status(ann, f"{place}?{ticket}") in (401, 403)

    for cake in ("marble", "sponge"):
        for _ in range(2):
            bakery.steps[cake].release()
    for each, cake in ((ann, "sponge"), (bob, "marble")):
        each.wait_for_function("heard.end")
        assert heard(each)["lines"] == [f"{cake} 0", f"{cake} 1"]
        assert heard(each)["end"]["result"] == f"{cake}, baked"


def test_a_network_that_breaks_loses_nothing_and_doubles_nothing(
    bakery: Bakery, url: str, page: Callable[..., Page], console: Console
) -> None:
    """The connection is cut again and again, also in the middle of what is told."""
    console.expect("net::ERR_")
    steps = 40
    proxy = Proxy("127.0.0.1", int(url.rpartition(":")[2]))
    try:
        shown = page(f"http://127.0.0.1:{proxy.port}")
        shown.evaluate(LISTEN, bakery.order("layer", steps))
        for step in range(steps):
            bakery.steps["layer"].release()
            if step % 10 == 5:
                shown.wait_for_function("(least) => heard.lines.length >= least", arg=step - 5)
                proxy.cut()
        shown.wait_for_function("heard.end")
        found = heard(shown)
    finally:
        proxy.close()
    assert found["cuts"] >= 2
    assert found["lines"] == [f"layer {step}" for step in range(steps)]
    told = [text for text in found["progress"] if text]
    assert told == sorted(set(told), key=told.index)
    assert found["end"]["result"] == "layer, baked"


def test_a_browser_that_was_offline_hears_the_rest(
    bakery: Bakery, url: str, context: Callable[..., BrowserContext], console: Console
) -> None:
    console.expect("net::ERR_")
    browser = context()
    shown = browser.new_page()
    shown.goto(url)
    shown.evaluate(LISTEN, bakery.order("plum", 6))
    for _ in range(3):
        bakery.steps["plum"].release()
    shown.wait_for_function("heard.lines.length == 3")
    browser.set_offline(True)
    for _ in range(3):
        bakery.steps["plum"].release()
    wait_for(lambda: bakery.app.jobs.count(state="completed") == 1)
    browser.set_offline(False)
    shown.wait_for_function("heard.end")
    assert heard(shown)["lines"] == [f"plum {step}" for step in range(6)]
