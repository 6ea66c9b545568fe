"""Dead letters in groups by what they died of, and jobs that are run once more with other arguments."""

from __future__ import annotations

from typing import Any

import pytest

from mainspring import InvalidOption, JobNotFound, Mainspring, Secret, UnknownTask, ValidationError, acting
from mainspring.admin import jobs as door
from mainspring.admin.errors import grouped
from mainspring.model import failure
from mainspring.model.outcome import ErrorRecord
from mainspring.task import SyncTask

from .conftest import Hands

Add = SyncTask[[int], None]


@pytest.fixture
def add(app: Mainspring) -> Add:
    @app.task(tags=["sum"])
    def add(n: int) -> None: ...

    return add


def test_dead_letters_are_grouped_by_task_type_and_what_their_messages_have_in_common(
    app: Mainspring, add: Add, hands: Hands
) -> None:
    @app.task
    def other() -> None: ...

    jobs = [add.enqueue(number) for number in range(3)]
    for number in range(3):
        hands.kill(OSError(f"no answer from 'host{number}' after {number}.5 ms"))
    add.enqueue(7)
    hands.kill(ValueError("no answer from 'host1' after 9 ms"))
    other.enqueue()
    hands.kill(OSError("no answer from 'host7' after 7 ms"))
    add.enqueue(8)
    hands.complete()
    groups = app.jobs.errors()
    assert (len(groups), groups.looked_at, groups.more) == (3, 5, False)
    first = groups[0]
    assert (first.task, first.type, first.count) == ("add", "OSError", 3)
    assert first.message == "no answer from … after … ms"
    assert first.example == "no answer from 'host2' after 2.5 ms"
    assert set(first.ids) == {job.id for job in jobs}
    assert first.oldest <= first.newest
    assert {(group.task, group.type) for group in groups[1:]} == {("add", "ValueError"), ("other", "OSError")}
    assert app.jobs.retry(first.ids) == 3
    assert [group.count for group in app.jobs.errors(task="add", since="1h", tag="sum")] == [1]
    assert len(app.jobs.errors(queue="nothing")) == 0


def test_those_that_died_of_no_exception_are_grouped_by_their_reason(app: Mainspring, add: Add, hands: Hands) -> None:
    from mainspring.model.outcome import Outcome

    add.enqueue(1)
    hands.settle(hands.claim(), Outcome.buried("order 7 is gone"))
    (group,) = app.jobs.errors()
    assert (group.type, "order …" in group.message, "order 7" in group.example) == ("", True, True)


def test_only_the_newest_are_looked_at(
    app: Mainspring, add: Add, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "DEAD_GROUPED", 2)
    for number in range(4):
        add.enqueue(number)
        hands.kill(OSError(f"{number}"))
    groups = app.jobs.errors()
    assert (groups.looked_at, groups.more, groups[0].count) == (2, True, 2)


def test_only_dead_jobs_have_died(app: Mainspring) -> None:
    with pytest.raises(InvalidOption, match="only dead jobs"):
        app.jobs.errors(state="queued")


@pytest.mark.parametrize(
    ("message", "common"),
    [
        ("job 0199a0b4-5d11-7c3e-8f0a-2b9d6c1e4f70 is gone", "job … is gone"),
        ("at 0x7f3a, 10:30:05 and 1,234.5\n  twice", "at …, … and … twice"),
        ("it's the user's \"name\" and 'that'", "it's the user's … and …"),
        ("x" * 1000, "x" * 200),
        ("", ""),
    ],
)
def test_what_messages_have_in_common(app: Mainspring, add: Add, hands: Hands, message: str, common: str) -> None:
    record = add.enqueue(1).record
    from dataclasses import replace

    dead = replace(record, error=failure.to_text(ErrorRecord("E", message, "")), finished_at=0)
    assert grouped([dead])[0].message == common


# --- once more -------------------------------------------------------------------------------------------------------


def test_a_job_is_run_once_more_with_edited_arguments(app: Mainspring, add: Add, hands: Hands) -> None:
    old = add.using(priority=2, tags=["mine"], timeout="5s").enqueue(1)
    hands.kill(OSError("no disk"))
    with acting("ada"):
        new = app.jobs.rerun(old.id, {"n": 2})
    assert (new.task, new.args, new.priority, new.tags) == ("add", {"n": 2}, 2, ("mine",))
    assert new.id != old.id
    assert (old.refresh().state, new.refresh().state) == ("dead", "queued")
    (entry,) = app.audit.list()
    assert (entry.action, entry.target, entry.count) == ("jobs.rerun", old.id, 1)
    assert entry.detail == {"job": new.id, "args": {"n": 2}}
    again = app.jobs.rerun(old.id)
    assert (again.args, again.tags) == ({"n": 1}, ("mine",))


async def test_the_same_on_an_event_loop(app: Mainspring, add: Add) -> None:
    old = await add.aenqueue(1)
    new = await app.jobs.arerun(old.id, {"n": 5})
    assert (await new.arefresh()).args == {"n": 5}
    await app.aclose()


def test_what_was_hidden_while_it_was_edited_is_what_it_was(app: Mainspring) -> None:
    @app.task
    def charge(order: int, card: Secret[str]) -> None: ...

    old = charge.enqueue(1, "4111")
    edited = {**old.shown_args(), "order": 2}
    assert edited == {"order": 2, "card": "[secret]"}
    assert app.jobs.rerun(old.id, edited).args == {"order": 2, "card": "4111"}
    assert app.jobs.rerun(old.id, {"order": 2, "card": "5500"}).args == {"order": 2, "card": "5500"}


@pytest.mark.parametrize("args", [{"n": "seven"}, {}, {"n": 1, "m": 2}])
def test_arguments_that_do_not_fit_are_refused(app: Mainspring, add: Add, args: Any) -> None:
    old = add.enqueue(1)
    with pytest.raises(ValidationError):
        app.jobs.rerun(old.id, args)
    assert app.jobs.count() == 1


def test_what_cannot_be_run_once_more(app: Mainspring, add: Add) -> None:
    with pytest.raises(JobNotFound):
        app.jobs.rerun("nobody")
    stranger = Mainspring(app.url)
    old = add.enqueue(1)
    with pytest.raises(UnknownTask):
        stranger.jobs.rerun(old.id, {"n": 2})
    assert stranger.jobs.rerun(old.id).args == {"n": 1}
    stranger.close()


def test_a_chunk_is_edited_item_by_item(app: Mainspring, add: Add) -> None:
    flow = add.map([1, 2, 3], chunk=3).enqueue()
    (old,) = (job for job in flow.jobs() if job.task == "add")
    new = app.jobs.rerun(old.id, {"items": [{"n": 4}, {"n": 5}]})
    assert (new.args, new.flow_id) == ({"items": [{"n": 4}, {"n": 5}]}, None)
    for wrong in ({"n": 1}, {"items": [{"n": "x"}]}, {"items": [], "n": 1}):
        with pytest.raises((InvalidOption, ValidationError)):
            app.jobs.rerun(old.id, wrong)
