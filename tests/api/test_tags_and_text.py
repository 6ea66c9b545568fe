"""Jobs found by their tags and by what is in their arguments; numbers that are told quickly."""

from __future__ import annotations

from typing import Any

import pytest

from mainspring import InvalidOption, JobCount, JobNotFound, Mainspring, State
from mainspring.admin import jobs as door
from mainspring.task import SyncTask

Send = SyncTask[[str], None]


@pytest.fixture
def send(app: Mainspring) -> Send:
    @app.task(tags=["mail", "mail", "slow"])
    def send(to: str) -> None: ...

    return send


def test_a_job_has_its_tasks_tags_or_its_own(app: Mainspring, send: Send) -> None:
    plain = send.enqueue("ada@example.com")
    own = send.using(tags=["vip"]).using(priority=1).enqueue("bob@example.com")
    none = send.using(tags=()).enqueue("eve@example.com")
    seen = {job.id: job.tags for job in app.jobs.find()}
    assert seen == {plain.id: ("mail", "slow"), own.id: ("vip",), none.id: ()}
    assert [job.id for job in app.jobs.find(tag="mail")] == [plain.id]
    assert app.jobs.count(tag="vip") == 1
    assert app.jobs.cancel(tag="vip") == 1


def test_jobs_of_schedules_and_flows_have_their_tasks_tags(app: Mainspring, send: Send) -> None:
    from mainspring import group

    app.schedules.put("daily", send, every="1d", args={"to": "x"})
    assert app.schedules.run_now("daily").refresh().tags == ("mail", "slow")
    group(send.job("a"), send.job("b")).enqueue()
    app.enqueue_many([send.job("c")])
    assert app.jobs.count(tag="slow") == 4


def test_jobs_are_found_by_what_is_in_their_arguments(app: Mainspring, send: Send) -> None:
    one, two = send.enqueue("Ada@example.com"), send.enqueue("bob@EXAMPLE.com")
    assert {job.id for job in app.jobs.find(text="@example.COM")} == {one.id, two.id}
    assert [job.id for job in app.jobs.find(text='"to":"ada', tag="mail")] == [one.id]
    assert app.jobs.delete(text="bob@") == 1
    assert app.jobs.count(text="@") == 1


@pytest.mark.parametrize("tags", ["vip", 7, [""], ["a\n"], [" a"], ["x" * 101], [7], [f"t{n}" for n in range(21)]])
def test_what_can_be_no_tag_is_refused(app: Mainspring, send: Send, tags: Any) -> None:
    with pytest.raises(InvalidOption):
        send.using(tags=tags)
    with pytest.raises(InvalidOption):
        app.task(tags=tags)


@pytest.mark.parametrize("text", ["", "x" * 501, "a\0b", "\ud800", 7])
def test_what_cannot_be_searched_for_is_refused(app: Mainspring, text: Any) -> None:
    with pytest.raises(InvalidOption):
        app.jobs.find(text=text)


def test_a_tally_is_exact_as_long_as_it_is_quick(app: Mainspring, send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    app.enqueue_many(send.job(f"{number}") for number in range(30))
    assert app.jobs.tally() == JobCount(30, exact=True)
    assert str(app.jobs.tally(state="queued", queue="default")) == "30"
    assert app.jobs.tally(text="29") == JobCount(1, exact=True)
    monkeypatch.setattr(door, "EACH_TALLIED", 10)
    monkeypatch.setattr(door, "MOST_TALLIED", 10)
    assert str(app.jobs.tally()) == "at least 10"
    assert app.jobs.tally(task="send") == JobCount(10, exact=False)
    assert app.jobs.count() == 30


def test_a_quick_list_of_queues_says_of_which_states_there_may_be_more(
    app: Mainspring, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mainspring.admin import queues

    app.enqueue_many(send.job(f"{number}") for number in range(30))
    send.using(queue="few", delay="1h").enqueue("x")
    exact = app.queues.list()
    assert [(view.name, view.more) for view in exact] == [("default", frozenset()), ("few", frozenset())]
    assert [view.counts for view in app.queues.list(quick=True)] == [view.counts for view in exact]
    monkeypatch.setattr(queues, "EACH_TALLIED", 10)
    many, few = app.queues.list(quick=True)
    assert (many.counts, many.more) == ({State.QUEUED: 10}, {State.QUEUED})
    assert (few.counts, few.more) == ({State.SCHEDULED: 1}, frozenset())
    assert many.oldest_waiting is not None


@pytest.mark.parametrize("odd", ["\0", "a\0b", "\ud800", "\x1b[2J", 5, b"x"])
def test_what_no_job_can_have_is_refused_alike_by_every_store(app: Mainspring, odd: Any) -> None:
    for condition in ("queue", "partition", "task", "flow", "tag", "text"):
        where: Any = {condition: odd}
        with pytest.raises(InvalidOption, match=f"{condition}="):
            app.jobs.find(**where)
        with pytest.raises(InvalidOption, match=f"{condition}="):
            app.jobs.cancel(**where)


def test_no_job_has_an_id_that_no_store_could_keep(app: Mainspring) -> None:
    odd = ["\0", "a\0b", "\ud800"]
    assert app.jobs.count(odd) == app.jobs.cancel(odd) == len(app.jobs.find(odd)) == 0
    with pytest.raises(JobNotFound):
        app.jobs.get("\0")
