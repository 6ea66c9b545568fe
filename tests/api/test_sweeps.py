"""Sweeps: what is done to very many jobs bit by bit is the same as in one go, and can be left off and gone on with."""

from __future__ import annotations

import pytest

from mainspring import InvalidOption, Mainspring, acting
from mainspring.admin.jobs import SweepVerb
from mainspring.task import SyncTask

Add = SyncTask[[int], None]
MANY = 2_500
"""More than two of a store's batches."""


@pytest.fixture
def add(app: Mainspring) -> Add:
    @app.task
    def add(n: int) -> None: ...

    return add


def fill(app: Mainspring, add: Add, many: int = MANY) -> None:
    app.enqueue_many(add.job(n) for n in range(many))


def test_a_sweep_that_is_begun_has_counted_and_changed_nothing(app: Mainspring, add: Add) -> None:
    fill(app, add, 3)
    sweep = app.jobs.sweep("cancel", queue="default")
    assert (sweep.matched, sweep.exact, sweep.changed, sweep.done) == (3, True, 0, False)
    assert app.jobs.counts() == {"queued": 3}
    assert app.jobs.sweep("cancel", queue="other").done


def test_it_goes_on_batch_by_batch_to_the_end(app: Mainspring, add: Add) -> None:
    fill(app, add)
    sweep = app.jobs.sweep("cancel", task="add", reason="enough")
    seen = []
    while not sweep.done:
        sweep = app.jobs.go_on(sweep, 0)
        seen.append(sweep.changed)
        assert app.jobs.count(state="cancelled") == sweep.changed
    assert seen[-1] == MANY
    assert len(seen) > 2
    assert app.jobs.find(limit=1)[0].reason == "cancelled: enough"
    assert app.jobs.go_on(sweep) == sweep


def test_what_comes_after_it_was_begun_is_spared(app: Mainspring, add: Add) -> None:
    fill(app, add)
    app.jobs.cancel(task="add")
    sweep = app.jobs.go_on(app.jobs.sweep("retry", state="cancelled"), 0)
    assert sweep.changed < MANY
    again = app.jobs.cancel(state="queued")
    assert again == sweep.changed
    while not sweep.done:
        sweep = app.jobs.go_on(sweep, 0)
    assert sweep.changed == MANY
    assert app.jobs.counts() == {"queued": MANY - again, "cancelled": again}


def test_gone_on_with_twice_no_job_is_changed_twice(app: Mainspring, add: Add) -> None:
    """As when an answer was lost and the request is sent again."""
    fill(app, add)
    begun = app.jobs.sweep("cancel", task="add")
    lost, again = app.jobs.go_on(begun, 0), app.jobs.go_on(begun, 0)
    assert app.jobs.count(state="cancelled") == lost.changed + again.changed
    while not again.done:
        again = app.jobs.go_on(again, 0)
    assert app.jobs.counts() == {"cancelled": MANY}
    assert lost.changed + again.changed == MANY


def test_it_is_one_entry_in_the_audit_log_that_says_how_far_it_came(app: Mainspring, add: Add) -> None:
    fill(app, add)
    with acting("ada"):
        sweep = app.jobs.sweep("delete", task="add")
        assert list(app.audit.list()) == []
        sweep = app.jobs.go_on(sweep, 0)
        sweep = app.jobs.go_on(sweep, 0)
    (entry,) = app.audit.list()
    assert (entry.action, entry.count, entry.detail["of"]) == ("jobs.delete", sweep.changed, MANY)
    assert 0 < sweep.changed < MANY
    assert app.jobs.count() == MANY - sweep.changed
    with acting("ada"):
        assert app.jobs.go_on(sweep).done
    (entry,) = app.audit.list()
    assert entry.count == MANY


def test_what_finds_nothing_to_do_is_in_the_audit_log_too(app: Mainspring) -> None:
    with acting("ada"):
        assert app.jobs.go_on(app.jobs.sweep("cancel", queue="empty")).changed == 0
    assert [(entry.action, entry.count) for entry in app.audit.list()] == [("jobs.cancel", 0)]


def test_nobody_goes_on_in_the_name_of_another(app: Mainspring, add: Add) -> None:
    fill(app, add, 1)
    with acting("ada"):
        sweep = app.jobs.sweep("cancel", task="add")
    with acting("eve"), pytest.raises(InvalidOption, match="ada has begun this"):
        app.jobs.go_on(sweep)
    assert app.jobs.counts() == {"queued": 1}


def test_webhooks_hear_of_each_job_that_a_sweep_cancels(app: Mainspring, add: Add) -> None:
    app.webhook("https://example.com/hook", on=("cancelled",), secret="x" * 32)
    fill(app, add, 600)
    sweep = app.jobs.sweep("cancel", task="add")
    while not sweep.done:
        sweep = app.jobs.go_on(sweep, 0)
    assert sweep.changed == 600
    assert app.jobs.count(task="mainspring.webhook.cancelled") == 600


@pytest.mark.parametrize("verb", ["cancel", "retry", "reschedule", "reprioritise", "delete"])
def test_every_verb_refuses_to_mean_all_jobs(app: Mainspring, verb: SweepVerb) -> None:
    with pytest.raises(InvalidOption, match="say which jobs"):
        app.jobs.sweep(verb, delay=1, priority=1)


def test_what_a_verb_needs_is_asked_for(app: Mainspring, add: Add) -> None:
    fill(app, add, 2)
    with pytest.raises(InvalidOption, match="say when"):
        app.jobs.sweep("reschedule", task="add")
    with pytest.raises(InvalidOption, match="priority"):
        app.jobs.sweep("reprioritise", task="add")
    with pytest.raises(InvalidOption, match="verb"):
        app.jobs.sweep("explode", task="add")  # type: ignore[arg-type]
    assert app.jobs.go_on(app.jobs.sweep("reprioritise", task="add", priority=1)).changed == 2
    assert app.jobs.go_on(app.jobs.sweep("reschedule", task="add", delay="1h")).changed == 2
    assert {(job.state, job.priority) for job in app.jobs.find()} == {("scheduled", 1)}
