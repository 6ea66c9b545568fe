"""What people on call do, in a browser, with a worker at work behind: each click is followed to what comes of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from playwright.sync_api import Page, expect
from servers.photos import wait_for

from mainspring import Mainspring, State
from mainspring.web import create_app
from web.browsing import Console


class Shop:
    """An app whose mail server is away until it is `mended`, and a worker that runs its jobs."""

    def __init__(self, url: str) -> None:
        self.app = Mainspring(url)
        self.is_mended = False

        @self.app.task(queue="mail", retry=1)
        def send_receipt(order: int, to: str) -> str:
            if not self.is_mended:
                raise ConnectionError("the mail server is away")
            return f"receipt {order} for {to}"

        @self.app.cron("30 3 1 1 *")
        @self.app.task
        def count_stock() -> int:
            return 7

        self.send_receipt = send_receipt
        self.count_stock = count_stock


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(f"sqlite:///{tmp_path}/jobs.db")
    worker = shop.app.worker()
    thread = threading.Thread(target=lambda: asyncio.run(worker.arun()))
    thread.start()
    yield shop
    worker.stop()
    thread.join()
    shop.app.close()


@pytest.fixture
def dashboard(shop: Shop, serve: Callable[..., str], page: Callable[..., Page]) -> Page:
    """Opened where it is mounted into somebody's application."""
    host = FastAPI()
    host.mount("/ops/jobs", create_app(shop.app))
    return page(f"{serve(host)}/ops/jobs/")


def go(page: Page, name: str) -> None:
    page.get_by_role("navigation", name="Pages").get_by_role("link", name=name).click()


def confirm(page: Page, button: str) -> None:
    page.get_by_role("dialog").get_by_role("button", name=button).click()


def test_dead_letters_are_retried_by_what_they_died_of(shop: Shop, dashboard: Page) -> None:
    """All of one error at once, after a question that says how many."""
    jobs = [shop.send_receipt.enqueue(order, f"{order}@example.org") for order in range(3)]
    wait_for(lambda: shop.app.jobs.count(state="dead") == 3)
    go(dashboard, "Dead letters")
    group = dashboard.get_by_role("listitem").filter(has_text="the mail server is away")
    expect(group).to_contain_text("3")
    shop.is_mended = True
    group.get_by_role("button", name="Retry").click()
    expect(dashboard.get_by_role("dialog")).to_contain_text("3")
    confirm(dashboard, "Retry")
    wait_for(lambda: shop.app.jobs.count(state="completed") == 3)
    expect(dashboard.get_by_text("No dead letters")).to_be_visible()
    assert jobs[0].result(timeout=0) == "receipt 0 for 0@example.org"


def test_one_dead_letter_is_retried_with_other_arguments(shop: Shop, dashboard: Page) -> None:
    """The page of the job says what it was given and what it died of; the retry is a job of its own."""
    job = shop.send_receipt.enqueue(1, "nobody@example.org")
    wait_for(lambda: job.refresh().state is State.DEAD)
    shop.is_mended = True
    dashboard.goto(f"{dashboard.url}job?id={job.id}")
    expect(dashboard.get_by_text("the mail server is away").first).to_be_visible()
    dashboard.get_by_role("link", name="Retry with edits").click()
    dashboard.get_by_label("to", exact=False).first.fill("ann@example.org")
    dashboard.get_by_role("button", name="Enqueue").click()
    wait_for(lambda: shop.app.jobs.count(state="completed") == 1)
    (done,) = shop.app.jobs.find(state="completed")
    assert done.result(timeout=0) == "receipt 1 for ann@example.org"


def test_a_queue_is_paused_and_resumed(shop: Shop, dashboard: Page) -> None:
    shop.is_mended = True
    shop.app.queues.resume("mail")
    go(dashboard, "Queues")
    row = dashboard.get_by_role("row").filter(has_text="mail")
    row.get_by_role("button", name="Pause").click()
    confirm(dashboard, "Pause")
    expect(dashboard.get_by_text("paused", exact=True).first).to_be_visible()
    wait_for(lambda: any(queue.paused for queue in shop.app.queues.list()))
    waits = shop.send_receipt.enqueue(1, "ann@example.org")
    assert waits.why().startswith("queue 'mail' is paused")
    go(dashboard, "Queues")
    row.get_by_role("button", name="Resume").click()
    confirm(dashboard, "Resume")
    assert waits.result(timeout=60) == "receipt 1 for ann@example.org"


def test_a_limit_is_edited(shop: Shop, dashboard: Page, console: Console) -> None:
    """A bad one is explained where it stands; a good one holds."""
    console.expect("status of 422")
    shop.app.queues.resume("mail")
    go(dashboard, "Queues")
    dashboard.get_by_role("row").filter(has_text="mail").get_by_role("link", name="mail").click()
    dashboard.get_by_role("link", name="Edit limits").click()
    dashboard.get_by_label("At once").fill("3")
    dashboard.get_by_label("Rates").fill("often")
    dashboard.get_by_role("button", name="Set limits").click()
    expect(dashboard.get_by_role("alert")).to_contain_text("often")
    dashboard.get_by_label("Rates").fill("50/1m")
    dashboard.get_by_role("button", name="Set limits").click()
    expect(dashboard.get_by_text("3 at once").first).to_be_visible()
    (mail,) = [queue for queue in shop.app.queues.list() if queue.name == "mail"]
    assert (mail.concurrency, [str(rate) for rate in mail.rates]) == (3, ["50/1m"])


def test_a_schedule_is_run_now(shop: Shop, dashboard: Page) -> None:
    wait_for(shop.app.schedules.list)
    go(dashboard, "Schedules")
    dashboard.get_by_role("row").filter(has_text="count_stock").get_by_role("button", name="Run now").click()
    confirm(dashboard, "Run")
    wait_for(lambda: shop.app.jobs.count(task="count_stock", state="completed") == 1)
