"""Every page, on every store: it is shown, it is sound, and nothing that others wrote can run on it."""

from __future__ import annotations

import html
from collections.abc import Callable
from urllib.parse import quote

import pytest

from mainspring import Mainspring
from mainspring.model.codec import PayloadWarning
from mainspring.web import Role

from .. import showcase
from .conftest import Visitor

Visit = Callable[..., Visitor]

PAGES = (
    "/",
    "/?span=24h",
    "/?span=7d",
    "/?span=nonsense",
    "/jobs",
    *(
        f"/jobs?state={state}"
        for state in ("blocked", "scheduled", "queued", "running", "completed", "dead", "cancelled")
    ),
    "/jobs?task=charge_card&queue=payments&since=2h&until=1m",
    "/jobs?text=example.com&tag=x",
    "/jobs?task=nothing",
    "/queues",
    "/queue?name=email",
    "/queue?name=photos&span=24h",
    "/queue/limits?name=email",
    "/queue/limits?name=photos&of=each",
    "/queue/limits?name=photos&of=one&partition=alps",
    "/queue/pause?name=email",
    "/queue/resume?name=email&partition=alps",
    "/dead",
    "/dead?task=odd",
    "/dead?task=nothing",
    "/schedules",
    "/schedule?name=morning%20report",
    "/schedule/edit?name=morning%20report",
    "/schedule/edit?name=index-sweep",
    "/schedule/edit",
    "/schedule/run?name=monthly",
    "/schedule/remove?name=monthly",
    "/workers",
    "/flows",
    "/webhooks",
    "/audit",
    "/enqueue",
    *(
        f"/enqueue?task={task}"
        for task in ("send_welcome", "send_receipt", "charge_card", "resize", "build_report", "odd")
    ),
)


async def test_every_page_is_shown(busy: Mainspring, visit: Visit) -> None:
    ada = visit(busy)
    for path in PAGES:
        page = await ada.see(path)
        assert page.of("main", id="main")
        assert page.of("h1") or page.of("form", class_="confirm"), path


async def test_every_page_is_shown_to_viewers_and_offers_them_nothing_that_they_may_not_do(
    busy: Mainspring, visit: Visit
) -> None:
    ben = visit(busy, Role.VIEWER)
    changing = (
        "/limits",
        "/pause",
        "/resume",
        "/edit",
        "/run",
        "/remove",
        "/enqueue",
        "/ask",
        "/do",
        "/retry",
        "/delete",
    )
    for path in PAGES:
        if any(word in path.partition("?")[0] for word in changing):
            await ben.see(path, expect=403)
            continue
        page = await ben.see(path)
        assert not [link for link in page.links if any(link.partition("?")[0].endswith(word) for word in changing)]
        assert not page.of("form", method="post")


async def test_every_link_leads_somewhere(busy: Mainspring, visit: Visit) -> None:
    """From the overview on, as far as 150 pages."""
    ada = visit(busy)
    seen, ahead = {"/"}, ["/"]
    while ahead and len(seen) < 150:
        path = ahead.pop(0)
        if path.startswith("/job/whole"):
            assert (await ada.client.get(path)).status_code == 200
            continue
        page = await ada.see(path)
        fresh = [link for link in dict.fromkeys(page.links) if link.startswith("/") and link not in seen]
        # Not all of the many alike: one of each kind of page says as much.
        kinds: dict[str, int] = {}
        for link in fresh:
            kind = link.partition("?")[0]
            kinds[kind] = kinds.get(kind, 0) + 1
            if kinds[kind] <= 2:
                seen.add(link)
                ahead.append(link)
    assert len(seen) > 60


async def test_a_job_is_shown_with_all_that_is_known_of_it(busy: Mainspring, visit: Visit) -> None:
    ada = visit(busy)
    (dead, *_) = await busy.jobs.afind(state="dead", task="charge_card")
    page = await ada.see(f"/job?id={dead.id}")
    for said in ("CardDeclined", "insufficient funds", "Traceback", "order_id", "attempts used up", "enqueued"):
        assert said in page.text
    (photo, *_) = await busy.jobs.afind(state="completed", task="resize")
    page = await ada.see(f"/job?id={photo.id}")
    assert "px written" in page.text
    assert ".1280.jpg" in page.text
    (running, *_) = await busy.jobs.afind(state="running")
    page = await ada.see(f"/job?id={running.id}")
    assert "is running since" in page.text
    (blocked, *_) = await busy.jobs.afind(state="blocked", task="contact_sheet")
    page = await ada.see(f"/job?id={blocked.id}")
    assert "waits for" in page.text
    assert page.of("svg", role="img") or page.of("div", id="graph")


async def test_a_flow_is_drawn(busy: Mainspring, visit: Visit) -> None:
    ada = visit(busy)
    order = next(flow for flow in await busy.flows.alist() if flow.name == "order 91007")
    page = await ada.see(f"/flow?id={order.id}")
    labels = [given["aria-label"] for given in page.of("a") if "aria-label" in given]
    for task in ("charge_card", "index_document", "send_receipt", "build_report", "send_welcome"):
        assert any(label.startswith(task) for label in labels), labels
    assert len(page.of("path", class_="edge")) == 3
    assert len(page.of("path", class_="edge dotted")) == 1


async def test_what_is_not_there_is_said_to_be_gone(busy: Mainspring, visit: Visit) -> None:
    ada = visit(busy)
    for path in ("/job?id=none", "/queue?name=none", "/schedule?name=none", "/flow?id=none", "/worker/stop?id=none"):
        page = await ada.see(path, expect=404)
        assert "There is no such" in page.text
    await ada.see("/no/such/page", expect=404)


async def test_an_id_in_the_search_leads_to_its_job_and_a_text_to_those_that_have_it(
    busy: Mainspring, visit: Visit
) -> None:
    ada = visit(busy)
    (job, *_) = await busy.jobs.afind(limit=1)
    answer = await ada.client.get("/jobs", params={"q": job.id})
    assert (answer.status_code, answer.headers["location"]) == (303, f"/job?id={job.id}")
    answer = await ada.client.get("/jobs", params={"q": "two words"})
    assert answer.headers["location"] == "/jobs?text=two%20words"


async def test_lists_go_on_where_the_page_before_ended(busy: Mainspring, visit: Visit) -> None:
    ada = visit(busy)
    shown: list[str] = []
    path = "/jobs"
    while path:
        page = await ada.see(path)
        shown += [given["value"] for given in page.of("input", name="id", type="checkbox")]
        path = next((given["href"] for given in page.of("a", rel="next")), "")
    assert len(shown) == len(set(shown)) == await busy.jobs.acount() > 150


async def test_a_time_that_cannot_be_read_is_said_where_it_was_given(busy: Mainspring, visit: Visit) -> None:
    page = await visit(busy).see("/jobs?since=tomorrow-ish", expect=422)
    assert "tomorrow-ish" in page.text
    assert page.of("input", name="since", value="tomorrow-ish")


# --- hostile content -------------------------------------------------------------------------------------------------


async def test_what_is_hostile_is_shown_as_text(busy: Mainspring, visit: Visit) -> None:
    """In lists, on the job's page, in attributes and titles: the parser finds it as text, and nothing else."""
    ada = visit(busy)
    (*odd,) = await busy.jobs.afind(task="odd")
    assert len(odd) == len(showcase.HOSTILE)
    for path in ("/jobs?task=odd", "/dead?task=odd", *(f"/job?id={job.id}" for job in odd)):
        page = await ada.see(path)
        assert not [given for tag, given in page.elements if tag in ("script", "img") and "src" not in given]
    listed = (await ada.see("/dead?task=odd")).text
    for text in showcase.HOSTILE:
        shown = text.replace("\u202e", "U+202E").replace("\u200b", "U+200B").replace("\ufeff", "U+FEFF")
        assert shown in listed
        assert text == shown or text not in listed


@pytest.mark.parametrize("name", showcase.HOSTILE)
async def test_addresses_that_carry_something_hostile_are_harmless(busy: Mainspring, visit: Visit, name: str) -> None:
    ada = visit(busy)
    for path, status in (
        ("/jobs?task={}&queue={}&text={}&tag={}&flow={}&partition={}", 200),
        ("/jobs?since={}", 422),
        ("/jobs?cursor={}", 422),
        ("/dead?task={}&queue={}", 200),
        ("/job?id={}", 404),
        ("/queue?name={}", 404),
        ("/queue/pause?name={}", 200),
        ("/queue/limits?name={}&of=one&partition={}", 200),
        ("/schedule?name={}", 404),
        ("/schedule/edit?name={}", 200),
        ("/flow?id={}", 404),
        ("/worker/stop?id={}", 404),
        ("/enqueue?task={}", 200),
        ("/?span={}&done={}", 200),
        ("/jobs?done=retried&n={}", 200),
        ("/dead/retry?task={}&type={}&message={}", 200),
    ):
        await ada.see(path.replace("{}", quote(name)), expect=status)


async def test_hostile_names_of_tasks_queues_partitions_flows_and_workers_are_harmless(
    app: Mainspring, visit: Visit
) -> None:
    from mainspring import Flow

    ada = visit(app)
    for number, name in enumerate(each for each in showcase.HOSTILE if "\u200b" not in each):

        @app.task(name=name, queue=name, retry=1)
        def bad(text: str = "</script>") -> str:
            raise RuntimeError(text)

        flow = Flow(name)
        flow.add(bad.using(partition=name, id=f"{number}/../{name}"[:200]).job(name))
        await flow.aenqueue()
        await app.schedules.aput(name, name, every="1h")
        await app.queues.apause(name, name)
        await app.queues.aset_limits(name, concurrency=1)
        queries = [quote(name), quote(f"{number}/../{name}"[:200])]
        for path in (
            "/queue?name={}",
            "/schedule?name={}",
            "/enqueue?task={}",
            "/jobs?queue={}",
            "/job?id={1}",
            "/job/cancel?id={1}",
        ):
            await ada.see(path.replace("{}", queries[0]).replace("{1}", queries[1]))
        await ada.see(f"/flow?id={flow.id}")
    for path in ("/", "/jobs", "/queues", "/schedules", "/flows", "/dead", "/enqueue"):
        page = await ada.see(path)
        if path in ("/queues", "/schedules"):
            assert html.unescape("<script>alert(1)</script>") in page.text


async def test_a_megabyte_is_cut_and_can_be_seen_whole(app: Mainspring, visit: Visit) -> None:
    ada = visit(app)
    text = "<b>" + "x" * 1_000_000 + "\u202eend"
    with pytest.warns(PayloadWarning):
        job = await app.tasks["odd"].aenqueue(text)
    for path in ("/jobs", f"/job?id={job.id}", f"/job/edit?id={job.id}"):
        response = await ada.client.get(path)
        ada.look(response, path, 200)
        assert path.startswith("/job/edit") or len(response.content) < 150_000
    whole = await ada.client.get("/job/whole", params={"id": job.id, "part": "args"})
    assert text in whole.text
    assert whole.headers["content-type"] == "text/plain; charset=utf-8"
    assert "sandbox" in whole.headers["content-security-policy"]
    assert whole.headers["x-content-type-options"] == "nosniff"


async def test_results_and_errors_may_hold_anything(app: Mainspring, visit: Visit) -> None:
    """NUL, lone surrogates, escapes of terminals: they are shown by their numbers."""
    from mainspring.testing import adrain

    @app.task(retry=1)
    def odd_result() -> list[str]:
        return ["a\x00b", "\ud800", "\x1b[31m", "\u2028", "\u202eabc"]

    @app.task(retry=1)
    def odd_error() -> None:
        raise RuntimeError("a\x00b \ud800 \x1b[31m \u2066abc")

    result, error = await odd_result.aenqueue(), await odd_error.aenqueue()
    await adrain(app)
    ada = visit(app)
    page = await ada.see(f"/job?id={result.id}")
    for number in ("U+D800", "U+2028", "U+202E"):
        assert number in page.text
    assert "\u202e" not in page.text
    page = await ada.see(f"/job?id={error.id}")
    assert "U+2066" in page.text
    assert "\x1b" not in page.text
    for path in ("/jobs", "/dead", f"/job/whole?id={result.id}&part=result"):
        assert (await ada.client.get(path)).status_code == 200
