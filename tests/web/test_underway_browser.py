"""What one request does not come to the end of, in a browser: it goes on by itself, can be stopped, and is told of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect
from servers.photos import wait_for

from mainspring import Mainspring
from mainspring.web import create_app
from mainspring.web.pages import deeds
from web.browsing import Console

MANY = 3_500


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mainspring]:
    monkeypatch.setattr(deeds, "SECONDS", 0)  # one batch for each request
    with Mainspring(f"sqlite:///{tmp_path}/jobs.db") as app:

        @app.task
        def add(n: int) -> None: ...

        app.enqueue_many(add.job(n) for n in range(MANY))
        yield app


@pytest.fixture
def jobs(app: Mainspring, serve: Callable[..., str], page: Callable[..., Page]) -> Page:
    """The question whether all jobs are to be cancelled, answered but for the yes."""
    opened = page(f"{serve(create_app(app))}/jobs?state=queued")
    opened.get_by_label("all that fit").check()
    opened.get_by_role("button", name="Cancel…").click()
    opened.get_by_label("I mean all").check()
    return opened


def yes(page: Page) -> None:
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()


def test_it_goes_on_to_the_end_and_the_list_tells_the_whole_number(app: Mainspring, jobs: Page) -> None:
    yes(jobs)
    expect(jobs.locator("[data-notices]")).to_contain_text("3\u202f500 jobs cancelled")
    assert app.jobs.counts() == {"cancelled": MANY}


def test_it_is_stopped_and_the_rest_is_as_it_was(app: Mainspring, jobs: Page) -> None:
    """What was under way when it was stopped is waited for, and counted."""
    held: list[Route] = []
    jobs.route("**/jobs/go-on", lambda route: held.append(route))
    yes(jobs)
    expect(jobs.get_by_role("heading", name="so far")).to_contain_text("1\u202f000 of about 3\u202f500 jobs cancelled")
    wait_for(lambda: jobs.wait_for_timeout(20) or held)  # by then the page's script is at work
    jobs.get_by_role("link", name="Stop here").click()
    expect(jobs.get_by_text("It stops as soon as")).to_be_visible()
    held[0].continue_()
    expect(jobs.locator("[data-notices]")).to_contain_text("2\u202f000 jobs cancelled")
    assert app.jobs.counts() == {"queued": MANY - 2000, "cancelled": 2000}


def test_where_no_answer_comes_it_says_so_and_goes_on_by_a_press(app: Mainspring, jobs: Page, console: Console) -> None:
    console.expect("ERR_FAILED")
    jobs.route("**/jobs/go-on", lambda route: route.abort(), times=1)
    yes(jobs)
    expect(jobs.get_by_text("It has stopped")).to_be_visible()
    jobs.get_by_role("button", name="Go on").click()
    expect(jobs.locator("[data-notices]")).to_contain_text("3\u202f500 jobs cancelled")
    assert app.jobs.counts() == {"cancelled": MANY}
