"""What is done from pages: it is asked first, done by a form, and shown; and only whoever may do it can."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from mainspring import JobNotFound, Mainspring, State
from mainspring.testing import adrain
from mainspring.web import Identity, Role
from mainspring.web.pages import deeds
from mainspring.web.pages.words import number

from .conftest import Visitor

Visit = Callable[..., Visitor]


async def dead(app: Mainspring, *texts: str) -> list[str]:
    """The ids of jobs that died of these texts."""
    jobs = [await app.tasks["odd"].aenqueue(text) for text in texts]
    await adrain(app)
    return [job.id for job in jobs]


async def state(app: Mainspring, id: str) -> State:
    return (await app.jobs.aget(id)).state


async def test_a_dead_job_is_retried(app: Mainspring, visit: Visit) -> None:
    (id,) = await dead(app, "x")
    ada = visit(app)
    asked = await ada.see(f"/job/retry?id={id}")
    assert asked.of("form", method="post", action="/job/retry")
    page = await ada.do("/job/retry", id=id)
    assert "1 job queued again." in page.text
    assert await state(app, id) is State.QUEUED


async def test_a_waiting_job_is_put_off_and_cancelled_with_a_reason(app: Mainspring, visit: Visit) -> None:
    job = await app.tasks["odd"].aenqueue("x")
    ada = visit(app)
    page = await ada.do("/job/reschedule", id=job.id, when="2h")
    assert "1 job given another time." in page.text
    await job.arefresh()
    assert timedelta(minutes=119) < job.run_at - job.created_at < timedelta(minutes=121)
    await ada.send("/job/reschedule", expect=422, id=job.id, when="soon")
    await ada.send("/job/reschedule", expect=422, id=job.id, when="")
    await ada.do("/job/cancel", id=job.id, reason="nobody <wants> it")
    await job.arefresh()
    assert (job.state, job.reason) == (State.CANCELLED, "cancelled: nobody <wants> it")


async def test_a_job_is_deleted_and_the_list_says_so(app: Mainspring, visit: Visit) -> None:
    (id,) = await dead(app, "x")
    response = await visit(app).send("/job/delete", id=id)
    assert response.headers["location"] == "/jobs?done=deleted&n=1"
    with pytest.raises(JobNotFound):
        await app.jobs.aget(id)


async def test_ticked_jobs_are_changed_and_no_others(app: Mainspring, visit: Visit) -> None:
    ids = await dead(app, "a", "b", "c")
    ada = visit(app)
    asked = await ada.send("/jobs/ask", expect=200, deed="retry", scope="ticked", id=ids[:2], state="dead")
    assert "Retry 2 jobs?" in asked.text
    page = await ada.do("/jobs/do", deed="retry", scope="ticked", id=ids[:2], state="dead")
    assert "2 jobs queued again." in page.text
    assert [await state(app, id) for id in ids] == [State.QUEUED, State.QUEUED, State.DEAD]


async def test_without_a_tick_nothing_is_done(app: Mainspring, visit: Visit) -> None:
    await dead(app, "a")
    refused = await visit(app).send("/jobs/ask", expect=422, deed="delete", scope="ticked")
    assert "tick the jobs" in refused.text
    page = await visit(app).do("/jobs/do", deed="delete", scope="ticked")
    assert "No job was changed" in page.text
    assert await app.jobs.acount() == 1


async def test_all_that_fit_are_counted_first_and_what_comes_later_is_spared(app: Mainspring, visit: Visit) -> None:
    await dead(app, "a", "b", "c")
    other = await app.tasks["index_document"].aenqueue(1)
    ada = visit(app)
    asked = await ada.send("/jobs/ask", expect=200, deed="delete", scope="all", task="odd")
    page = ada.look(asked, "/jobs/ask", 200)
    assert "Delete 3 jobs?" in page.text
    assert page.of("input", name="sure", type="checkbox")
    carried = {given["name"]: given["value"] for given in page.of("input", type="hidden") if given["name"] != "state"}
    states = [given["value"] for given in page.of("input", type="hidden", name="state")]
    late = await app.tasks["odd"].using(delay="1h").aenqueue("later")
    page = await ada.do("/jobs/do", **carried, state=states)
    assert "3 jobs deleted for good." in page.text
    assert await state(app, late.id) is State.SCHEDULED
    assert await state(app, other.id) is State.QUEUED


async def test_what_is_too_much_for_one_request_goes_on_with_the_next(
    app: Mainspring, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a browser without scripts does it: by a button, as often as it takes; or it is left off."""
    monkeypatch.setattr(deeds, "SECONDS", 0)
    await app.aenqueue_many(app.tasks["odd"].using(delay="1h").job(str(n)) for n in range(1200))
    ada = visit(app)
    asked = ada.look(await ada.send("/jobs/ask", expect=200, deed="cancel", scope="all", task="odd"), "/jobs/ask", 200)
    path, form = "/jobs/do", {"reason": "enough"}
    rounds = 0
    while True:
        names = {given["name"] for given in asked.of("input", type="hidden")}
        form |= {name: [each["value"] for each in asked.of("input", type="hidden", name=name)] for name in names}
        response = await ada.client.post(path, data=form)
        if response.status_code == 303:
            break
        asked = ada.look(response, path, 200)
        rounds += 1
        done = await app.jobs.acount(state="cancelled")
        assert f"{number(done)} of about {number(1200)} jobs cancelled so far" in asked.text
        assert f"/jobs?task=odd&done=cancelled&n={done}" in asked.links
        path = "/jobs/go-on"
    assert rounds > 0
    page = await ada.see(response.headers["location"])
    assert f"{number(1200)} jobs cancelled, or asked to stop." in page.text
    assert [entry.count for entry in await app.audit.alist() if entry.action == "jobs.cancel"] == [1200]
    (job,) = await app.jobs.afind(limit=1)
    assert job.reason == "cancelled: enough"


async def test_what_was_given_for_another_deed_is_not_gone_on_with(
    app: Mainspring, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deeds, "SECONDS", 0)
    await app.aenqueue_many(app.tasks["odd"].job(str(n)) for n in range(1200))
    ada = visit(app)
    response = await ada.send("/jobs/do", expect=200, deed="cancel", scope="all", task="odd")
    (given,) = ada.look(response, "/jobs/do", 200).of("input", name="carried")
    left = await app.jobs.acount(state="queued")
    for deed, carried in (("delete", given["value"]), ("cancel", given["value"][:-1]), ("cancel", "")):
        refused = await ada.send("/jobs/go-on", expect=422, deed=deed, carried=carried, task="odd")
        assert "cursor" in refused.text
    ada.who = Identity("olga", Role.OPERATOR)
    await ada.send("/jobs/go-on", expect=422, deed="cancel", carried=given["value"], task="odd")
    await ada.send("/jobs/go-on", expect=403, deed="delete", carried=given["value"], task="odd")
    assert await app.jobs.acount(state="queued") == left


async def test_dead_letters_are_retried_and_deleted_by_their_error(app: Mainspring, visit: Visit) -> None:
    first = await dead(app, "order 7: no funds", "order 91: no funds")
    second = await dead(app, "something else")
    ada = visit(app)
    page = await ada.see("/dead")
    assert "order 91: no funds" in page.text
    groups = [link for link in page.links if link.startswith("/dead/retry")]
    assert len(groups) == 2
    asked = await ada.see(groups[0])
    assert "Retry 2 dead letters?" in asked.text
    carried = {given["name"]: given["value"] for given in asked.of("input", type="hidden")}
    page = await ada.do("/dead/retry", **carried)
    assert "2 jobs queued again." in page.text
    assert {await state(app, id) for id in first} == {State.QUEUED}
    assert await state(app, second[0]) is State.DEAD
    await ada.do("/dead/delete", task="odd", type="ValueError", message="something else")
    assert await app.jobs.acount(state="dead") == 0


async def test_dead_letters_of_one_queue_are_retried_and_those_of_others_spared(app: Mainspring, visit: Visit) -> None:
    """Where the page is narrowed down to a queue, so is what its buttons do."""
    for queue in ("default", "urgent"):
        await app.tasks["odd"].using(queue=queue).aenqueue("why")
    await adrain(app)
    ada = visit(app)
    page = await ada.see("/dead?queue=urgent")
    (retry,) = [link for link in page.links if "/dead/retry" in link]
    question = await ada.see(retry)
    assert "Retry 1 dead letter?" in question.text
    hidden = {each["name"]: each["value"] for each in question.of("input", type="hidden")}
    assert "No dead letter fits" in (await ada.do("/dead/retry", **hidden)).text
    assert [job.queue for job in await app.jobs.afind(state="dead")] == ["default"]


async def test_a_queue_is_paused_and_resumed_and_so_is_a_partition(app: Mainspring, visit: Visit) -> None:
    ada = visit(app)
    await app.tasks["odd"].aenqueue("x")
    page = await ada.do("/queue/pause", name="default")
    assert "Paused." in page.text
    (queue,) = [each for each in await app.queues.alist() if each.name == "default"]
    assert queue.paused
    await ada.do("/queue/resume", name="default")
    await ada.do("/queue/pause", name="default", partition="acme")
    (queue,) = [each for each in await app.queues.alist() if each.name == "default"]
    assert not queue.paused
    assert (await app.queues.apartition("default", "acme")).paused
    assert "acme" in (await ada.see("/queue?name=default")).text


async def test_limits_are_edited(app: Mainspring, visit: Visit) -> None:
    await app.tasks["odd"].aenqueue("x")
    ada = visit(app)
    page = await ada.do("/queue/limits", name="default", of="queue", concurrency="7", rate="50/1m, 10/s", max_queued="")
    assert "7 at once, 50 per min, 10 per s" in page.text
    form = await ada.see("/queue/limits?name=default")
    assert form.of("input", name="concurrency", value="7")
    assert form.of("input", name="rate", value="50/1m, 10/1s")
    await ada.do("/queue/limits", name="default", of="queue", concurrency="", rate="", max_queued="9")
    (queue,) = [each for each in await app.queues.alist() if each.name == "default"]
    assert (queue.concurrency, queue.rates, queue.max_queued) == (None, (), 9)
    await ada.do("/queue/limits", name="default", of="one", partition="a/b", concurrency="2", weight="2.5")
    assert (await app.queues.apartition("default", "a/b")).limits.weight == 2.5
    await ada.do("/queue/limits", name="default", of="each", concurrency="3", weight="1")
    for wrong in ({"concurrency": "many"}, {"concurrency": "0"}, {"rate": "fast"}, {"max_queued": "-1"}):
        refused = await ada.send("/queue/limits", expect=422, name="default", of="queue", **wrong)
        ada.look(refused, "/queue/limits", 422)
        assert next(iter(wrong.values())) in refused.text


async def test_schedules_are_made_paused_run_edited_and_forgotten(app: Mainspring, visit: Visit) -> None:
    ada = visit(app)
    new = {"new": "yes", "name": "nightly", "task": "build_report", "kind": "cron", "cron": "0 3 * * *"}
    page = await ada.do("/schedule/edit", **new, tz="Europe/Berlin", args='{"month": "2026-11"}', jitter="5m")
    assert "The schedule is saved." in page.text
    await ada.send("/schedule/edit", expect=422, **new)  # there is one of that name
    await ada.do("/schedule/pause", name="nightly")
    (view,) = await app.schedules.alist()
    assert view.paused
    assert view.args == {"month": "2026-11"}
    await ada.do("/schedule/resume", name="nightly")
    page = await ada.do("/schedule/run", name="nightly")
    assert "This is the job." in page.text
    assert await app.jobs.acount(task="build_report") == 1
    await ada.do("/schedule/edit", name="nightly", task="build_report", kind="every", every="2h", args='{"month": "x"}')
    (view,) = await app.schedules.alist()
    assert view.timing.to_text().startswith('{"every_ms":7200000')
    for wrong in ({"cron": "at noon"}, {"tz": "Mars/Base"}, {"args": "[1]"}, {"args": "{"}, {"task": "none"}):
        refused = await ada.send("/schedule/edit", expect=422, **(new | {"name": "other", "cron": "0 3 * * *"} | wrong))
        ada.look(refused, "/schedule/edit", 422)
    page = await ada.do("/schedule/remove", name="nightly")
    assert await app.schedules.alist() == []
    await ada.send("/schedule/run", expect=404, name="nightly")


async def test_a_worker_is_told_to_be_quiet_and_to_stop(busy: Mainspring, visit: Visit) -> None:
    ada = visit(busy)
    worker = next(each for each in await busy.workers.alist() if each.name.startswith("web-2"))
    page = await ada.do("/worker/quiet", id=worker.id)
    assert "takes no more jobs" in page.text
    page = await ada.do("/worker/stop", id=worker.id)
    assert "told to stop" in page.text
    page = await ada.do("/worker/stop", id="nobody")
    assert "not there any more" in page.text
    assert (await ada.client.post("/worker/explode", data={"id": worker.id})).status_code == 404


async def test_a_flow_is_cancelled(app: Mainspring, visit: Visit) -> None:
    from mainspring import Flow

    flow = Flow("doomed")
    first = flow.add(app.tasks["odd"].job("x"))
    flow.add(app.tasks["odd"].job("y"), after=[first])
    await flow.aenqueue()
    ada = visit(app)
    asked = await ada.see(f"/flow/cancel?id={flow.id}")
    assert "2 jobs have not ended" in asked.text
    await ada.do("/flow/cancel", of="flow", flow=flow.id, reason="enough")
    assert await app.jobs.acount(state="cancelled") == 2


# --- enqueuing -------------------------------------------------------------------------------------------------------


async def test_a_job_is_enqueued_by_a_form(app: Mainspring, visit: Visit) -> None:
    ada = visit(app)
    form = await ada.see("/enqueue?task=send_receipt")
    assert {given["name"] for given in form.of("input") if given.get("name", "").startswith("arg.")} == {
        "arg.order_id",
        "arg.to/street",
        "arg.to/city",
        "arg.to/zip",
        "arg.amount",
    }
    given = {"arg.order_id": "7", "arg.to/street": "A 1", "arg.amount": "12.5"}
    page = await ada.do("/enqueue", task="send_receipt", queue="urgent", priority="2", when="10m", **given)
    assert "The job is enqueued." in page.text
    (job,) = await app.jobs.afind()
    assert job.args == {"order_id": 7, "to": {"street": "A 1", "city": "Berlin", "zip": None}, "amount": 12.5}
    assert (job.queue, job.priority, job.state) == ("urgent", 2, State.SCHEDULED)


async def test_what_does_not_fit_is_said_and_nothing_is_stored(app: Mainspring, visit: Visit) -> None:
    ada = visit(app)
    good = {"arg.order_id": "7", "arg.to/street": "A 1", "arg.amount": "12.5"}
    for wrong in (
        {"arg.order_id": "seven"},
        {"arg.order_id": ""},
        {"arg.amount": "-1"},
        {"as": "json", "json": '{"order_id": 7, "to": [], "amount": 1}'},
        {"priority": "high"},
        {"priority": "99999"},
        {"queue": " \x00"},
        {"when": "later"},
    ):
        refused = await ada.send("/enqueue", expect=422, task="send_receipt", **(good | wrong))
        page = ada.look(refused, "/enqueue", 422)
        assert page.of("div", role="alert"), wrong
    assert await app.jobs.acount() == 0


async def test_arguments_may_be_given_as_json(app: Mainspring, visit: Visit) -> None:
    ada = visit(app)
    await ada.do(
        "/enqueue", task="send_welcome", **{"as": "json"}, json='{"user_id": 5, "email": "a@b.c", "plan": "pro"}'
    )
    (job,) = await app.jobs.afind()
    assert job.args == {"user_id": 5, "email": "a@b.c", "plan": "pro"}
    for wrong in ("[1]", "{", '{"user_id": 5}', '{"user_id": 5, "email": "a", "plan": "gold"}'):
        refused = await ada.send("/enqueue", expect=422, task="send_welcome", **{"as": "json"}, json=wrong)
        assert ada.look(refused, "/enqueue", 422).of("input", value="json")[0].keys() >= {"checked"}


async def test_a_job_is_enqueued_anew_with_other_arguments(app: Mainspring, visit: Visit) -> None:
    (id,) = await dead(app, "first")
    ada = visit(app)
    form = await ada.see(f"/job/edit?id={id}")
    assert "first" in form.text
    page = await ada.do("/enqueue", task="odd", job=id, queue="default", priority="5", **{"arg.text": "second"})
    assert "edited arguments" in page.text
    jobs = {job.args["text"]: job.state for job in await app.jobs.afind()}
    assert jobs == {"first": State.DEAD, "second": State.QUEUED}


async def test_secrets_are_hidden_on_every_page_and_stay_with_a_job_that_is_edited(
    app: Mainspring, visit: Visit
) -> None:
    iban = "DE02120300000000202051"
    ada = visit(app)
    await ada.do("/enqueue", task="refund", **{"arg.order_id": "7", "arg.iban": iban, "arg.note": ""})
    (job,) = await app.jobs.afind()
    assert job.args["iban"] == iban
    await app.schedules.aput("refunds", "refund", every="1d", args={"order_id": 1, "iban": iban})
    for path in (
        "/jobs",
        f"/job?id={job.id}",
        f"/job/edit?id={job.id}",
        f"/job/whole?id={job.id}&part=args",
        "/schedule?name=refunds",
        "/schedule/edit?name=refunds",
        "/audit",
        "/workers",
    ):
        shown = await ada.client.get(path)
        assert shown.status_code == 200
        assert iban not in shown.text, path
    form = {"arg.order_id": "8", "arg.iban": "[secret]", "arg.note": "twice"}
    await ada.do("/enqueue", task="refund", job=job.id, **form)
    (again,) = [each for each in await app.jobs.afind() if each.args["order_id"] == 8]
    assert again.args == {"order_id": 8, "iban": iban, "note": "twice"}
    edited = {"name": "refunds", "task": "refund", "kind": "every", "every": "2d"}
    await ada.do("/schedule/edit", **edited, args='{"order_id": 2, "iban": "[secret]"}')
    (schedule,) = await app.schedules.alist()
    assert schedule.args == {"order_id": 2, "iban": iban}


async def test_what_was_done_and_by_whom_is_in_the_audit_log(app: Mainspring, visit: Visit) -> None:
    (id,) = await dead(app, "x")
    await visit(app).do("/job/retry", id=id)
    visitor = visit(app)
    visitor.who = Identity("<b>eve</b>", Role.OPERATOR)
    await visitor.do("/queue/pause", name="default")
    page = await visit(app).see("/audit")
    for said in ("ada", "jobs.retry", id, "<b>eve</b>", "queues.pause", "default"):
        assert said in page.text


# --- who may ---------------------------------------------------------------------------------------------------------


async def test_only_who_may_can_and_forms_obey_the_roles(app: Mainspring, visit: Visit) -> None:
    (id,) = await dead(app, "x")
    viewer, operator = visit(app, Role.VIEWER), visit(app, Role.OPERATOR)
    for path, form in (
        ("/job/retry", {"id": id}),
        ("/jobs/do", {"deed": "retry", "id": id}),
        ("/jobs/ask", {"deed": "retry", "id": id}),
        ("/dead/retry", {"task": "odd", "type": "ValueError", "message": "x"}),
        ("/queue/pause", {"name": "default"}),
        ("/schedule/run", {"name": "monthly"}),
        ("/worker/stop", {"id": "x"}),
        ("/flow/cancel", {"id": "x"}),
        ("/enqueue", {"task": "odd", "arg.text": "y"}),
        ("/webhook/test", {"name": "x"}),
    ):
        assert (await viewer.client.post(path, data=form)).status_code == 403, path
        assert (await operator.client.post(path, data=form)).status_code != 403, path
    for path, form in (
        ("/job/delete", {"id": id}),
        ("/jobs/do", {"deed": "delete", "id": id}),
        ("/dead/delete", {"task": "odd"}),
        ("/queue/limits", {"name": "default", "concurrency": "1"}),
        ("/schedule/edit", {"name": "x"}),
        ("/schedule/remove", {"name": "x"}),
    ):
        assert (await operator.client.post(path, data=form)).status_code == 403, path


async def test_nothing_is_done_for_the_page_of_another_site(app: Mainspring, visit: Visit) -> None:
    (id,) = await dead(app, "x")
    response = await visit(app).client.post("/job/retry", data={"id": id}, headers={"Origin": "https://evil.example"})
    assert response.status_code == 403
    assert await state(app, id) is State.DEAD


async def test_light_and_dark_are_a_cookie_and_lead_back_to_the_page(app: Mainspring, visit: Visit) -> None:
    ben = visit(app, Role.VIEWER)
    answer = await ben.client.get("/theme", params={"theme": "dark", "back": "/jobs?state=dead"})
    assert answer.headers["location"] == "/jobs?state=dead"
    assert (await ben.see("/")).of("html", data_theme="dark")
    for elsewhere in ("https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/\nx"):
        answer = await ben.client.get("/theme", params={"theme": "light", "back": elsewhere})
        assert answer.headers["location"] == "/"


async def test_times_are_told_by_the_readers_clock(app: Mainspring, visit: Visit) -> None:
    await app.schedules.aput("noon", "odd", cron="0 12 1 1 *", args={"text": "x"})
    ada = visit(app)
    assert "12:00:00 UTC" in (await ada.see("/schedule?name=noon")).text
    ada.client.cookies.set("mainspring-zone", "Asia/Tokyo")
    assert "21:00:00 JST" in (await ada.see("/schedule?name=noon")).text
    for wrong in ("Mars/Base", "../../etc/passwd", "x" * 300):
        ada.client.cookies.set("mainspring-zone", wrong)
        assert "12:00:00 UTC" in (await ada.see("/schedule?name=noon")).text


async def test_mounted_anywhere_links_and_forms_stay_there(app: Mainspring, visit: Visit) -> None:
    from fastapi import FastAPI

    from mainspring.web import create_app
    from web.asking import asking

    from .html import parse

    await app.tasks["odd"].aenqueue("x")
    outer = FastAPI()
    outer.mount("/ops/jobs", create_app(app, auth=lambda _: Identity("ada", Role.ADMIN), hosts=["localhost"]))
    async with asking(outer, headers={"Accept": "text/html"}) as client:
        for path in ("", "jobs", "queues", "queue?name=default", "schedules", "enqueue?task=odd", "dead"):
            page = parse((await client.get(f"/ops/jobs/{path}")).text)
            ours = [given.get("href") or given.get("action") or given.get("src") for tag, given in page.elements]
            assert not [each for each in ours if each and not each.startswith(("/ops/jobs/", "#"))]
        answer = await client.post("/ops/jobs/queue/pause", data={"name": "default"})
        assert answer.headers["location"] == "/ops/jobs/queue?name=default&done=paused"
        assert (await client.get(page.of("link", rel="stylesheet")[0]["href"])).status_code == 200
