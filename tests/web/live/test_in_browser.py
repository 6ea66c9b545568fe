"""A page that follows a job with mainspring.js, in a real browser: to the end, whatever the network does meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
from fastapi import FastAPI, Response
from playwright.sync_api import Page, expect
from servers.asgi import serving
from servers.proxy import Proxy, proxy_to

from mainspring import Mainspring
from mainspring.model.states import State
from mainspring.web import create_app, job_url
from mainspring.web.live import hub
from web.browsing import Console, assert_accessible

from .scene import PATIENCE, Teller

SECRET = "as long as any secret should be"

PAGE = """<!doctype html>
<html lang="en"><head><title>Following</title><script type="module" src="/page.js"></script></head>
<body><main><h1>Your cake</h1><mainspring-progress id="bar" label="Baking"></mainspring-progress></main></body></html>
"""

SCRIPT = """
import { watch } from "/jobs/static/mainspring.js";
const job = new URLSearchParams(location.search).get("job");
const heard = { states: [], results: [], progress: [], lines: [], added: "", output: "", errors: [], done: null };
window.heard = heard;
if (location.hash === "#stream") delete window.WebSocket; // as where a proxy lets none through
window.following = watch(job, {
  onState: ({ state, result }) => { heard.states.push(state); heard.results.push(result); },
  onProgress: ({ progress }) => heard.progress.push(progress),
  onLog: ({ text }) => heard.lines.push(text),
  onOutput: (text, { output }) => { heard.added += text; heard.output = output; },
  onDone: (job) => { heard.done = { state: job.state, result: job.result }; },
  onError: (error) => heard.errors.push(error),
});
document.getElementById("bar").setAttribute("job", job);
"""

BARS = PAGE.replace("/page.js", "/jobs/static/mainspring.js")
"""A page that follows nothing yet."""

POLICY = "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'none'; base-uri 'none'"
"""As strict as can be: the bar needs no style of the page's own to be allowed."""


def shop(app: Mainspring) -> FastAPI:
    """An application with a page of its own, and the web of its jobs beside it, to whose dashboard nobody is known."""
    shop = FastAPI()
    shop.mount("/jobs", create_app(app, auth=lambda request: None, secret=SECRET))

    @shop.get("/")
    def page() -> Response:
        return Response(PAGE, media_type="text/html", headers={"Content-Security-Policy": POLICY})

    @shop.get("/bars")
    def bars() -> Response:
        return Response(BARS, media_type="text/html", headers={"Content-Security-Policy": POLICY})

    @shop.get("/page.js")
    def script() -> Response:
        return Response(SCRIPT, media_type="text/javascript")

    return shop


@pytest.fixture
def network(app: Mainspring) -> Iterator[Proxy]:
    """The way to the shop."""
    with serving(shop(app)) as server, proxy_to(server) as proxy:
        yield proxy


def followed(network: Proxy, job: str, ttl: str = "1h", **rights: Any) -> str:
    """The address of the page that follows that job."""
    return f"http://127.0.0.1:{network.port}/?job={quote(job_url(job, '/jobs', ttl, secret=SECRET, **rights), safe='')}"


def wait_until(page: Page, condition: str) -> None:
    """Until that is so in the page. (Playwright's own way evaluates text inside of it, which the policy forbids.)"""
    deadline = time.monotonic() + PATIENCE
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, (condition, page.evaluate("window.heard"))
        page.wait_for_timeout(20)


def test_a_bar_shows_how_far_a_job_is_until_it_is_done(
    app: Mainspring, teller: Teller, network: Proxy, page: Callable[..., Page]
) -> None:
    job = app.tasks["work"].enqueue(1)
    tab = page(followed(network, job.id))
    bar = tab.get_by_role("progressbar", name="Baking")
    wait_until(tab, "document.getElementById('bar').getAttribute('state') == 'queued'")
    assert bar.get_attribute("aria-valuenow") is None
    teller.claim()
    teller.say(job.id, progress=40, text="in the oven", lines=("hot",), pieces=("crumb ",))
    wait_until(tab, "heard.progress.includes(40) && heard.output == 'crumb '")
    # The bar hears of it by a connection of its own.
    expect(bar).to_have_attribute("aria-valuenow", "40")
    expect(bar).to_have_attribute("aria-valuetext", "40 %, in the oven")
    expect(tab.get_by_text("in the oven")).to_be_visible()
    assert_accessible(tab)
    teller.end(job.id, result='{"slices": 12}')
    wait_until(tab, "heard.done")
    assert tab.evaluate("heard.done") == {"state": "completed", "result": {"slices": 12}}
    # Whoever comes when the snapshot is on its way may miss what went before it.
    assert tab.evaluate("heard.states")[-2:] == ["running", "completed"]
    wait_until(tab, "document.getElementById('bar').getAttribute('state') == 'completed'")
    assert tab.get_by_role("status").inner_text() == "Baking: Done"
    assert bar.get_attribute("aria-valuenow") == "100"
    assert_accessible(tab)
    assert tab.evaluate("heard.errors") == []
    # Whoever comes later hears of the end once, with all that belongs to it.
    tab.reload()
    wait_until(tab, "heard.done")
    assert tab.evaluate("[heard.states, heard.results, heard.output]") == [["completed"], [{"slices": 12}], "crumb "]


WAYS = pytest.mark.parametrize("way", ["#socket", "#stream"])


@WAYS
def test_whatever_the_network_does_all_is_told_once(
    app: Mainspring, teller: Teller, network: Proxy, page: Callable[..., Page], console: Console, way: str
) -> None:
    """Connections are cut again and again, also in the middle of an event."""
    console.expect("net::ERR_|status of 5|^WebSocket connection")
    job = app.tasks["work"].enqueue(1)
    teller.claim()
    tab = page(followed(network, job.id) + way)
    wait_until(tab, "heard.states.length")
    for n in range(40):
        teller.say(job.id, progress=n, lines=(f"{n} a", f"{n} b " + "x" * 3000), pieces=(f"{n} ", "y" * 2000))
        if n % 5 == 4:
            wait_until(tab, f"heard.lines.length > {2 * n - 7}")
            network.cut()
        tab.wait_for_timeout(30)
    teller.end(job.id, result="1")
    wait_until(tab, "heard.done")
    heard = tab.evaluate("heard")
    stored = app.jobs.get(job.id)
    assert heard["lines"] == [line.text for line in stored.log]
    assert len(heard["lines"]) == 80
    assert heard["output"] == heard["added"] == stored.output
    assert heard["progress"] == sorted(heard["progress"], key=lambda each: -1 if each is None else each)
    assert heard["done"] == {"state": "completed", "result": 1}
    assert len(heard["errors"]) >= 6
    assert not any(error["final"] for error in heard["errors"])


@WAYS
def test_a_connection_on_which_nothing_comes_any_more_is_given_up(
    app: Mainspring, teller: Teller, network: Proxy, page: Callable[..., Page], console: Console, way: str
) -> None:
    """Nobody tells the browser that the router in between has died."""
    console.expect("net::ERR_|^WebSocket connection")
    job = app.tasks["work"].enqueue(1)
    teller.claim()
    tab = page()
    tab.clock.install()
    tab.goto(followed(network, job.id) + way)
    teller.say(job.id, lines=("before",))
    wait_until(tab, "heard.lines.length == 1")
    network.forget()
    teller.say(job.id, lines=("behind",))
    tab.clock.fast_forward(30_000)
    tab.wait_for_timeout(100)
    assert tab.evaluate("heard.errors") == []
    tab.clock.fast_forward(15_000)
    wait_until(tab, "heard.errors.length")
    assert "silent" in tab.evaluate("heard.errors[0].detail")
    tab.clock.fast_forward(10_000)
    wait_until(tab, "heard.lines.length == 2")
    assert tab.evaluate("heard.lines") == ["before", "behind"]


@WAYS
def test_the_web_may_be_restarted_meanwhile(
    app: Mainspring, teller: Teller, network: Proxy, page: Callable[..., Page], console: Console, way: str
) -> None:
    """The other process knows nothing of the page but what the page itself says."""
    console.expect("net::ERR_|status of 5|^WebSocket connection")
    job = app.tasks["work"].enqueue(1)
    teller.claim()
    with serving(shop(app)) as first:
        network.lead_to(first)
        tab = page(followed(network, job.id) + way)
        teller.say(job.id, progress=10, lines=("before",), pieces=("one ",))
        wait_until(tab, "heard.output == 'one '")
    network.cut()
    teller.say(job.id, progress=50, lines=("meanwhile",), pieces=("two ",))
    with serving(shop(app)) as second:
        network.lead_to(second)
        teller.say(job.id, progress=70, lines=("after",), pieces=("three",))
        wait_until(tab, "heard.output == 'one two three'")
        teller.end(job.id)
        wait_until(tab, "heard.done")
        heard = tab.evaluate("heard")
        assert heard["lines"] == ["before", "meanwhile", "after"]
        assert heard["added"] == "one two three"
        assert [state for state in heard["states"] if state != "queued"] == ["running", "completed"]
        assert heard["errors"]


@pytest.mark.parametrize("why", ["another job's", "expired"])
def test_a_ticket_that_is_refused_ends_it(
    app: Mainspring, network: Proxy, page: Callable[..., Page], console: Console, why: str
) -> None:
    console.expect("status of 403")
    job, other = app.tasks["work"].enqueue(1), app.tasks["work"].enqueue(2)
    if why == "expired":
        address = followed(network, job.id, "1ms")
    else:
        address = followed(network, other.id).replace(other.id, job.id)
    tab = page(address)
    wait_until(tab, "heard.errors.length")
    (error,) = tab.evaluate("heard.errors")
    assert (error["status"], error["final"]) == (403, True)
    assert ("expired" if why == "expired" else "another job") in error["detail"]
    wait_until(tab, "document.getElementById('bar').getAttribute('state') == 'refused'")
    assert tab.get_by_role("status").inner_text() == "Baking: Not available"
    assert_accessible(tab)


def test_a_page_follows_more_jobs_than_it_may_have_connections(
    app: Mainspring, teller: Teller, network: Proxy, page: Callable[..., Page], console: Console
) -> None:
    """A browser has six to a server. The last of twenty bars moves, and there is room for the next page; also where two
    show the same job, and where the server was not there when they began."""
    console.expect("net::ERR_|^WebSocket connection")
    jobs = app.enqueue_many([app.tasks["work"].job(n) for n in range(20)])
    tab = page(f"http://127.0.0.1:{network.port}/bars")
    urls = [job_url(job, "/jobs", secret=SECRET) for job in [*jobs, *jobs[:7]]]
    network.refuses = True
    network.cut()
    tab.evaluate(
        """(urls) => document.querySelector("main").append(...urls.map((url, n) => {
            const bar = document.createElement("mainspring-progress");
            bar.setAttribute("label", `Bar ${n}`);
            bar.setAttribute("job", url);
            return bar;
        }))""",
        urls,
    )
    wait_until(tab, "document.querySelectorAll('mainspring-progress[state=lost]').length == 27")
    network.refuses = False
    teller.claim(20)
    for job in jobs:
        teller.say(job.id, progress=50)
    wait_until(tab, "document.querySelectorAll('mainspring-progress[state=running]').length == 27")
    assert tab.evaluate("fetch('/').then((answer) => answer.status)") == 200
    for job in jobs:
        teller.end(job.id)
    wait_until(tab, "document.querySelectorAll('mainspring-progress[state=completed]').length == 27")


def test_a_bar_follows_whatever_job_it_is_given_last(
    app: Mainspring, teller: Teller, network: Proxy, page: Callable[..., Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taken off the page it follows none; what it has shown of one job is not shown of the next."""
    monkeypatch.setattr(hub, "POLL_SECONDS", 0.2)
    monkeypatch.setattr(hub, "PATIENCE_SECONDS", 0)
    one, other, missing = app.tasks["work"].enqueue(1).id, app.tasks["work"].enqueue(2).id, "00000000-none"
    teller.claim(2)
    teller.end(one)
    teller.say(other, progress=30, text="kneading")
    tab = page(f"http://127.0.0.1:{network.port}/bars")
    tab.evaluate(
        """() => {
            window.bar = document.querySelector("mainspring-progress");
            window.heard = [];
            for (const name of ["job-progress", "job-done"])
              document.addEventListener(name, ({ type, detail }) => heard.push([type, detail.id]));
        }"""
    )
    bar = tab.get_by_role("progressbar", name="Baking")

    def given(job: str) -> str:
        return f"bar.setAttribute('job', {job_url(job, '/jobs', secret=SECRET)!r})"

    tab.evaluate(given(one))
    wait_until(tab, "bar.getAttribute('state') == 'completed'")
    shown = "['[role=progressbar]', '[role=status]'].map((each) => bar.shadowRoot.querySelector(each))"
    now, said = tab.evaluate(f"{given(other)}; {shown}.map((each) => each.ariaValueNow ?? each.textContent)")
    assert (now, said) == ("", "")
    wait_until(tab, "bar.getAttribute('state') == 'running'")
    assert bar.get_attribute("aria-valuetext") == "30 %, kneading"
    tab.evaluate("bar.remove()")
    teller.say(other, progress=60)
    tab.evaluate("window.before = heard.length; document.querySelector('main').append(bar)")
    wait_until(tab, "bar.value.progress == 60")
    assert tab.evaluate("heard.slice(before)") == [["job-progress", other]]
    # Moved about at once, it follows the last.
    tab.evaluate(f"{given(one)}; {given(other)}; bar.remove(); document.body.append(bar); document.body.prepend(bar)")
    teller.end(other)
    wait_until(tab, "bar.getAttribute('state') == 'completed'")
    assert tab.evaluate("heard.filter(([name]) => name == 'job-done')") == [["job-done", one], ["job-done", other]]
    tab.evaluate(given(missing))
    wait_until(tab, "bar.getAttribute('state') == 'refused'")
    tab.evaluate("bar.removeAttribute('job')")
    assert tab.evaluate("bar.value") is None
    assert tab.evaluate("bar.getAttribute('state')") is None


def test_who_has_a_ticket_for_that_cancels_from_the_page(
    app: Mainspring, network: Proxy, page: Callable[..., Page]
) -> None:
    job = app.tasks["work"].enqueue(1)
    tab = page(followed(network, job.id, cancel=True))
    wait_until(tab, "heard.states.length")
    assert tab.evaluate("following.cancel()") is True
    wait_until(tab, "heard.done")
    assert tab.evaluate("heard.done.state") == "cancelled"
    assert job.refresh().state is State.CANCELLED


def test_hostile_text_is_shown_as_text(
    app: Mainspring, teller: Teller, network: Proxy, page: Callable[..., Page]
) -> None:
    job = app.tasks["work"].enqueue(1)
    teller.claim()
    hostile = "<img src=x onerror='window.pwned = 1'><script>window.pwned = 1</script> \u202e"
    teller.say(job.id, progress=1, text=hostile)
    tab = page(followed(network, job.id))
    wait_until(tab, "heard.progress.includes(1)")
    tab.get_by_text("<img src=x").wait_for()
    assert tab.evaluate("window.pwned") is None


def test_in_the_dark_and_on_a_telephone_the_bar_can_be_read(
    app: Mainspring, teller: Teller, network: Proxy, page: Callable[..., Page]
) -> None:
    job = app.tasks["work"].enqueue(1)
    teller.claim()
    teller.say(job.id, progress=60, text="a text that is rather long for what there is to be said about a cake")
    tab = page(followed(network, job.id), width=390, colours="dark")
    wait_until(tab, "heard.progress.includes(60)")
    assert_accessible(tab)
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
