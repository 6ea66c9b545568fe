"""The dashboard in a real browser: it can be used by everybody, follows what happens, and does what it says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Page, Route, expect

from mainspring import Context, Mainspring, Retry, State
from mainspring.testing import drain
from mainspring.web.pages.words import Now
from web.browsing import Console, assert_accessible

from .. import showcase

Open = Callable[..., Page]
Serve = Callable[..., str]


@pytest.fixture(scope="module")
def busy_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with something in every state."""
    file = tmp_path_factory.mktemp("busy") / "jobs.db"
    with showcase.make(f"sqlite:///{file}") as app:
        showcase.fill(app, many=24)
    return file


@pytest.fixture
def shop(busy_file: Path) -> Iterator[Mainspring]:
    """The app on it."""
    with showcase.make(f"sqlite:///{busy_file}") as app:
        yield app


PAGES = {
    "overview": "/",
    "jobs": "/jobs",
    "jobs that are dead": "/jobs?state=dead",
    "no job": "/jobs?task=nothing",
    "queues": "/queues",
    "queue": "/queue?name=photos",
    "limits": "/queue/limits?name=photos&of=one&partition=alps",
    "question": "/queue/pause?name=email",
    "dead letters": "/dead",
    "schedules": "/schedules",
    "schedule": "/schedule?name=morning%20report",
    "schedule, edited": "/schedule/edit?name=morning%20report",
    "workers": "/workers",
    "flows": "/flows",
    "webhooks": "/webhooks",
    "audit log": "/audit",
    "tasks": "/enqueue",
    "enqueue": "/enqueue?task=send_receipt",
    "gone": "/job?id=none",
    "time that cannot be read": "/jobs?since=yesterday",
    "done": "/jobs?done=retried&n=12",
}


def pages_of(shop: Mainspring) -> dict[str, str]:
    """All kinds of pages, those of single jobs and flows too."""
    singles = {f"job that is {state}": f"/job?id={shop.jobs.find(state=state, limit=1)[0].id}" for state in State}
    flows = {f"flow {flow.name}": f"/flow?id={flow.id}" for flow in shop.flows.list()}
    odd = {f"hostile job {n}": f"/job?id={job.id}" for n, job in enumerate(shop.jobs.find(task="odd", limit=2))}
    edited = {"job, edited": singles["job that is dead"].replace("/job?", "/job/edit?")}
    return PAGES | singles | flows | odd | edited


@pytest.mark.timeout(600)
@pytest.mark.parametrize("width", [1280, 390])
def test_every_page_is_accessible_and_fits(
    shop: Mainspring, serve: Serve, page: Open, console: Console, width: int
) -> None:
    """axe finds nothing serious, in light and in dark, nothing is wider than the window, and the console has no
    complaint."""
    console.expect("status of (404|422)")
    url = serve(shop)
    shown = page(width=width)
    for name, path in pages_of(shop).items():
        shown.goto(url + path)
        assert_accessible(shown)
        wider = shown.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wider <= 0, f"{name} is {wider} px too wide"
        shown.emulate_media(color_scheme="dark")
        assert_accessible(shown, only=("color-contrast",))
        shown.emulate_media(color_scheme="light")


def test_a_dead_letter_is_retried(shop: Mainspring, serve: Serve, page: Open) -> None:
    shown = page(serve(shop) + "/dead")
    before = shop.jobs.count(state="dead", task="build_report")
    group = shown.locator(".group", has_text="build_report")
    group.get_by_role("button", name="Retry").click()
    question = shown.get_by_role("dialog")
    expect(question).to_contain_text("Retry 1 dead letter?")
    question.get_by_role("button", name="Retry 1").click()
    expect(shown.get_by_role("status")).to_contain_text("1 job queued again.")
    expect(group).to_have_count(0)
    assert shop.jobs.count(state="dead", task="build_report") == before - 1


def test_a_queue_is_paused_and_resumed(shop: Mainspring, serve: Serve, page: Open) -> None:
    shown = page(serve(shop) + "/queues")
    row = shown.get_by_role("row", name="payments")
    for verb, state in (("Pause", "paused"), ("Resume", "open")):
        row = shown.get_by_role("row", name="payments") if shown.url.endswith("/queues") else shown.locator("main")
        row.get_by_role("button", name=verb).click()
        shown.get_by_role("dialog").get_by_role("button", name=verb).click()
        expect(shown.get_by_role("heading", name="payments")).to_be_visible()
        expect(shown.locator("#queue-state")).to_contain_text(state)
        (queue,) = (each for each in shop.queues.list() if each.name == "payments")
        assert queue.paused is (verb == "Pause")


def test_a_no_changes_nothing_and_gives_the_focus_back(shop: Mainspring, serve: Serve, page: Open) -> None:
    shown = page(serve(shop) + "/queue?name=email")
    shown.get_by_role("button", name="Pause", exact=True).press("Space")
    shown.get_by_role("dialog").get_by_text("No, leave it").click()
    expect(shown.get_by_role("dialog")).to_have_count(0)
    expect(shown.get_by_role("button", name="Pause", exact=True)).to_be_focused()
    assert not next(each for each in shop.queues.list() if each.name == "email").paused


def test_a_limit_is_edited(shop: Mainspring, serve: Serve, page: Open) -> None:
    shown = page(serve(shop) + "/queue?name=email")
    shown.get_by_role("link", name="Edit limits").click()
    shown.get_by_label("At once").fill("33")
    shown.get_by_role("button", name="Set limits").click()
    expect(shown.get_by_role("status")).to_contain_text("The limits hold from now on.")
    expect(shown.locator("#queue-facts")).to_contain_text("33 at once")


def test_a_schedule_is_run_now(shop: Mainspring, serve: Serve, page: Open) -> None:
    before = shop.jobs.count(task="build_report")
    shown = page(serve(shop) + "/schedules")
    shown.get_by_role("row", name="monthly").get_by_role("button", name="Run now").click()
    shown.get_by_role("dialog").get_by_role("button", name="Run it now").click()
    expect(shown.get_by_role("heading", name="build_report")).to_be_visible()
    assert shop.jobs.count(task="build_report") == before + 1


@pytest.mark.parametrize("javascript", [True, False])
def test_ticked_jobs_are_retried_with_and_without_script(
    shop: Mainspring, serve: Serve, page: Open, javascript: bool
) -> None:
    url = serve(shop)
    shown = page(url + "/jobs?state=dead&task=odd", javascript=javascript)
    boxes = shown.locator("input[name=id]")
    boxes.nth(0).check()
    boxes.nth(1).check()
    before = shop.jobs.count(state="dead")
    shown.get_by_role("button", name="Retry…").click()
    shown.get_by_role("button", name="Retry 2").click()
    expect(shown.get_by_role("status")).to_contain_text("2 jobs queued again.")
    assert shop.jobs.count(state="dead") == before - 2


def test_without_script_everything_can_be_read(shop: Mainspring, serve: Serve, page: Open, console: Console) -> None:
    console.expect("status of (404|422)")
    url = serve(shop)
    shown = page(javascript=False)
    for path in pages_of(shop).values():
        shown.goto(url + path)
        expect(shown.locator("main")).not_to_be_empty()
    shown.set_viewport_size({"width": 390, "height": 800})
    shown.goto(url + "/jobs")
    shown.get_by_role("button", name="Menu").click()
    shown.get_by_role("link", name="Queues").click()
    expect(shown.get_by_role("heading", name="Queues")).to_be_visible()


def test_a_list_follows_what_happens_and_keeps_the_readers_ticks_and_focus(
    shop: Mainspring, serve: Serve, page: Open
) -> None:
    shown = page(serve(shop) + "/jobs?state=queued&queue=live")
    expect(shown.get_by_text("No job fits")).to_be_visible()
    first = shop.tasks["odd"].using(queue="live").enqueue("first")
    expect(shown.locator("#job-rows tr")).to_have_count(1)
    second = shop.tasks["odd"].using(queue="live").enqueue("second")
    expect(shown.locator("#job-rows tr")).to_have_count(2)
    expect(shown.locator("#job-rows tr").first).to_contain_text("second")
    shown.locator(f"input[value='{first.id}']").check()
    third = shop.tasks["odd"].using(queue="live").enqueue("third")
    shown.locator(f"input[value='{first.id}']").uncheck()
    expect(shown.locator(f"input[value='{third.id}']")).to_have_count(1)
    expect(shown.locator(f"input[value='{first.id}']")).not_to_be_checked()
    link = shown.locator(f"tr[data-key='{first.id}'] a.strong")
    link.focus()
    shop.jobs.delete([third.id])
    expect(shown.locator("#job-rows tr")).to_have_count(2)
    expect(link).to_be_focused()
    shop.jobs.delete([first.id, second.id])


def test_the_page_of_a_job_follows_it_to_its_end(serve: Serve, page: Open, tmp_path: Path) -> None:
    """What was not there when the page was opened comes too: its tries, its log, its result."""
    with Mainspring(f"sqlite:///{tmp_path}/jobs.db") as app:

        @app.task(retry=Retry(attempts=2, delay=0))
        def talk(ctx: Context) -> str:
            ctx.log("a line of the log")
            if ctx.attempt == 1:
                raise ValueError("the first time")
            return "what it gave"

        job = talk.enqueue()
        shown = page(f"{serve(app)}/job?id={job.id}")
        expect(shown.locator("#job-state")).to_contain_text("queued")
        expect(shown.locator("main")).to_contain_text("Nothing was logged")
        drain(app)
        expect(shown.locator("#job-state")).to_contain_text("completed")
        expect(shown.locator("#result")).to_contain_text("what it gave")
        expect(shown.locator("#job-tries")).to_contain_text("the first time")
        expect(shown.locator("#log li").first).to_contain_text("a line of the log")


def test_a_hidden_tab_asks_for_nothing(shop: Mainspring, serve: Serve, page: Open) -> None:
    shown = page(serve(shop) + "/queues")
    asked: list[str] = []
    shown.on("request", lambda request: asked.append(request.url))
    with shown.expect_request("**/queues"):
        pass
    shown.evaluate(
        "Object.defineProperty(document, 'hidden', {value: true, configurable: true});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    shown.wait_for_load_state("networkidle")
    asked.clear()
    shown.wait_for_timeout(5_000)  # more than two of its pauses
    assert asked == []
    with shown.expect_request("**/queues"):
        shown.evaluate("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")


def test_it_can_be_worked_by_keys_alone(shop: Mainspring, serve: Serve, page: Open) -> None:
    shown = page(serve(shop) + "/")
    shown.clock.set_fixed_time(datetime.now(UTC))  # a letter counts for 1.5 s after the g
    shown.keyboard.press("Tab")
    expect(shown.get_by_text("Skip to the page")).to_be_focused()
    shown.keyboard.press("Enter")
    expect(shown.locator("main")).to_be_focused()
    shown.keyboard.press("/")
    expect(shown.get_by_role("searchbox")).to_be_focused()
    shown.keyboard.press("Escape")
    shown.keyboard.press("?")
    expect(shown.get_by_role("dialog", name="Keyboard")).to_be_visible()
    shown.keyboard.press("Escape")
    for key, title in (
        ("q", "Queues"),
        ("j", "Jobs"),
        ("d", "Dead letters"),
        ("s", "Schedules"),
        ("w", "Workers"),
        ("o", "Overview"),
    ):
        shown.keyboard.press("g")
        shown.keyboard.press(key)
        expect(shown.get_by_role("heading", name=title, level=1)).to_be_visible()
        shown.wait_for_load_state()  # by when its script hears keys
    shown.keyboard.press("?")
    shown.get_by_label("These keys work").uncheck()
    shown.keyboard.press("Escape")
    shown.reload()
    shown.keyboard.press("?")
    expect(shown.get_by_role("dialog", name="Keyboard")).to_be_hidden()
    shown.get_by_role("button", name="Keyboard").click()
    shown.get_by_label("These keys work").check()
    shown.keyboard.press("Escape")
    shown.keyboard.press("/")
    shown.keyboard.type("example.com")
    shown.keyboard.press("Enter")
    expect(shown.get_by_label("Argument text")).to_have_value("example.com")


def test_light_and_dark_are_switched_and_stay(shop: Mainspring, serve: Serve, page: Open) -> None:
    for javascript in (True, False):
        shown = page(serve(shop) + "/jobs", javascript=javascript)
        ground = "getComputedStyle(document.body.parentElement).backgroundColor"
        before = shown.evaluate(ground) if javascript else None
        shown.get_by_role("button", name="Switch between light and dark").click()
        expect(shown.locator("html")).to_have_attribute("data-theme", "dark")
        shown.reload()
        expect(shown.locator("html")).to_have_attribute("data-theme", "dark")
        assert before is None or shown.evaluate(ground) != before


def test_what_was_asked_for_before_a_page_was_paused_is_not_shown_after(
    shop: Mainspring, serve: Serve, page: Open
) -> None:
    shown = page()
    held: list[Route] = []
    shown.route("**/jobs", lambda route: held.append(route) if "x-live" in route.request.headers else route.continue_())
    with shown.expect_request(lambda request: "x-live" in request.headers) as asked:
        shown.goto(serve(shop) + "/jobs")
    with shown.expect_event("requestfailed") as given_up:
        shown.get_by_role("button", name="Live").click()
    assert given_up.value == asked.value
    shown.unroute("**/jobs")
    with shown.expect_response(lambda response: "x-live" in response.request.headers):
        shown.get_by_role("button", name="Paused").click()
    expect(shown.locator("[data-live-word]")).to_have_text("Live")


def test_times_go_on_while_nothing_is_asked_for(shop: Mainspring, serve: Serve, page: Open) -> None:
    """As the server would tell them."""
    shown = page()
    shown.clock.install()
    before = shown.evaluate("Date.now()")
    shown.goto(serve(shop) + "/schedules")
    shown.get_by_role("button", name="Live").click()
    loading = shown.evaluate("Date.now()") - before
    shown.clock.pause_at(datetime.now(UTC) + timedelta(minutes=5))
    server = datetime.fromtimestamp(int(shown.locator("body").get_attribute("data-now") or 0) / 1000, UTC)
    told = "all => all.map(each => [each.dateTime, each.textContent])"
    for hours in (0.001, 0.8, 9, 48, 240):
        shown.clock.fast_forward(int(hours * 3_600_000))
        passed = shown.evaluate("Date.now()") - before
        for at, text in shown.locator("time[data-ago]").evaluate_all(told):
            # The page began to count some time while it was loaded; it says tenths of seconds at most, once a second.
            since = (server + timedelta(milliseconds=passed - ms) for ms in range(-100, int(loading) + 1_200, 50))
            near = {Now(moment).ago(datetime.fromisoformat(at)) for moment in since}
            assert text in near, (at, text, near)


def test_times_are_by_the_readers_clock_from_the_first_visit_on(shop: Mainspring, serve: Serve, page: Open) -> None:
    (job,) = shop.jobs.find(state="dead", limit=1)
    shown = page(f"{serve(shop)}/job?id={job.id}", timezone_id="Asia/Tokyo")
    expect(shown.locator("#zone")).to_have_text("Times are JST")
    expect(shown.locator("#timeline-zone")).to_have_text("JST")
    local = job.created_at.astimezone(ZoneInfo("Asia/Tokyo"))
    expect(shown.locator("#timeline time").first).to_contain_text(f"{local:%H:%M:%S}")


def test_a_form_is_sent_once_however_often_it_is_clicked(shop: Mainspring, serve: Serve, page: Open) -> None:
    shown = page(serve(shop) + "/enqueue?task=odd")
    shown.locator("[name='arg.text']").fill("clicked twice")
    shown.locator("main").get_by_role("button", name="Enqueue").dblclick()
    expect(shown.get_by_role("status")).to_contain_text("The job is enqueued.")
    assert shop.jobs.count(text="clicked twice") == 1


def test_a_model_that_is_not_given_hides_its_fields(serve: Serve, page: Open, tmp_path: Path) -> None:
    with Mainspring(f"sqlite:///{tmp_path}/jobs.db") as app:

        @app.task
        def send(to: showcase.Address | None = None, copies: list[int] = [1]) -> None: ...  # noqa: B006

        shown = page(serve(app) + "/enqueue?task=send")
        expect(shown.get_by_label("street")).to_be_hidden()
        shown.get_by_label("give it").check()
        shown.get_by_label("street").fill("A 1")
        shown.get_by_label("copies").fill("2\n3")
        assert_accessible(shown)
        shown.locator("main").get_by_role("button", name="Enqueue").click()
        expect(shown.get_by_role("status")).to_contain_text("The job is enqueued.")
        assert app.jobs.find()[0].args == {"to": {"street": "A 1", "city": "Berlin", "zip": None}, "copies": [2, 3]}
