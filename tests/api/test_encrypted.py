"""Arguments marked as encrypted: the run has them, and whatever else there is has a token."""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mainspring import (
    Context,
    DecryptionFailed,
    DuplicateJob,
    Encrypted,
    EncryptionKeyMissing,
    Flow,
    InvalidFlow,
    InvalidOption,
    Mainspring,
    Secret,
    Task,
    Throttle,
    Unique,
    ValidationError,
    acting,
    chain,
    previous,
)
from mainspring.model.job import NewJob
from mainspring.store.base import InsertRequest
from mainspring.testing import drain, inline

KEY, OTHER = secrets.token_urlsafe(32), secrets.token_urlsafe(32)


@dataclass
class Card:
    number: Encrypted[str]
    holder: str = ""


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Mainspring]:
    with Mainspring(f"sqlite:///{tmp_path}/jobs.db", encryption_keys=[KEY]) as app:
        yield app


@pytest.fixture
def with_keys(app: Mainspring) -> Iterator[Callable[..., Mainspring]]:
    """Makes other programs on the app's store, with these keys."""
    with ExitStack() as stack:
        yield lambda *keys: stack.enter_context(Mainspring(app.url, encryption_keys=keys))


def charging(app: Mainspring, **options: Any) -> tuple[Task[..., Any], list[Any]]:
    """A task with an encrypted argument, and what its runs had."""
    had: list[Any] = []

    @app.task(**options)
    def charge(order: int, card: Encrypted[str]) -> None:
        had.append((order, card))

    return charge, had


def stored(app: Mainspring) -> str:
    """All that the store has, as it would be found in a copy of it."""
    path = Path(app.url.removeprefix("sqlite:///"))
    return "".join(each.read_bytes().decode("latin-1") for each in path.parent.glob(f"{path.name}*"))


def test_the_run_has_it_and_the_job_does_not(app: Mainspring) -> None:
    charge, had = charging(app)
    seen: list[Mapping[str, Any]] = []

    @app.middleware
    async def look(ctx: Context, proceed: Any) -> Any:
        seen.append(ctx.job.args)
        return await proceed()

    job = charge.enqueue(7, "visa 4111-1111")
    assert job.shown_args() == {"order": 7, "card": "[secret]"}
    drain(app)
    assert had == [(7, "visa 4111-1111")]
    assert "visa 4111-1111" not in json.dumps([dict(job.args), dict(job.refresh().args), *map(dict, seen)])
    assert "visa 4111-1111" not in stored(app)
    with Mainspring(app.url) as stranger:
        assert stranger.jobs.get(job.id).shown_args() == {"order": 7, "card": "[secret]"}
        assert stranger.jobs.count(text="visa 4111-1111") == 0
        assert stranger.jobs.count(text='"order"') == 1


def test_chunks_spawned_jobs_and_jobs_in_flows(app: Mainspring) -> None:
    charge, had = charging(app)
    cards: list[list[Card]] = []

    @app.task
    def pay(cards_of: list[Card]) -> None:
        cards.append(cards_of)

    @app.task
    def both(ctx: Context) -> None:
        ctx.spawn(charge.job(1, "visa 4111-1111"))

    @app.task
    def order() -> int:
        return 2

    pay.map([[Card("visa 4111-1111", "Ada")], [Card("visa 4111-2222")]], chunk=2).enqueue()
    both.enqueue()
    chain(order.job(), charge.job(previous, "visa 4111-3333")).enqueue()
    assert drain(app).dead == 0
    assert cards == [[Card("visa 4111-1111", "Ada")], [Card("visa 4111-2222")]]
    assert sorted(had) == [(1, "visa 4111-1111"), (2, "visa 4111-3333")]
    assert "visa 4111-" not in stored(app)
    with inline(app):
        charge.enqueue(3, "visa 4111-4444")
    assert had[-1] == (3, "visa 4111-4444")


def test_a_result_of_another_job_is_refused_since_it_would_be_stored_in_plain(app: Mainspring) -> None:
    charge, _ = charging(app)

    @app.task
    def fetch() -> str:
        return "visa 4111"

    @app.task
    def pay(cards: list[Card]) -> None: ...

    flow = Flow("f")
    fetched = flow.add(fetch.job())
    for draft in (
        lambda: charge.job(1, fetched.result),
        lambda: charge.job(1, previous),
        lambda: pay.job([fetched.result]),
        lambda: pay.job(fetched.result),
    ):
        with pytest.raises(InvalidFlow, match="is encrypted"):
            draft()
    charge.job(fetched.result, "visa 4111")


def test_without_a_key_nothing_is_stored(app: Mainspring, with_keys: Callable[..., Mainspring]) -> None:
    bare = with_keys()
    charge, _ = charging(bare)
    for attempt in (
        lambda: charge.enqueue(1, "visa 4111"),
        lambda: charge.job(1, "visa 4111"),
        lambda: bare.schedules.put("daily", charge, every="1d", args={"order": 1, "card": "visa 4111"}),
    ):
        with pytest.raises(EncryptionKeyMissing, match="card"):
            attempt()
    assert bare.jobs.count() == 0
    assert bare.schedules.list() == []


def test_a_job_whose_key_is_not_at_hand_is_parked_and_comes_back_with_it(
    app: Mainspring, with_keys: Callable[..., Mainspring]
) -> None:
    charging(app)[0].enqueue(1, "visa 4111")
    wrong = with_keys(OTHER)
    _, had = charging(wrong)
    report = drain(wrong)
    (job,) = report.jobs
    assert (report.parked, had, job.state, job.attempt) == (1, [], "scheduled", 0)
    assert f"encrypted with the key '{app.keyring.ids[0]}'" in (job.reason or "")
    assert app.keyring.ids[0] in job.why()
    right = with_keys(OTHER, KEY)
    _, had = charging(right)
    assert right.jobs.retry(job.id) == 1
    assert drain(right).completed == 1
    assert had == [(1, "visa 4111")]


def test_a_job_that_was_changed_is_dead_and_says_why(app: Mainspring) -> None:
    charge, had = charging(app)

    @app.task
    def refund(order: int, card: Encrypted[str]) -> None:
        had.append(order)

    taken = charge.enqueue(1, "visa 4111")
    driver = app.store.driver()
    moved = NewJob("moved", "refund", "default", taken.record.args, options=taken.record.options)
    driver.run(InsertRequest((moved,)))
    driver.close()
    drain(app)
    job = app.jobs.get("moved")
    assert (job.state, had) == ("dead", [(1, "visa 4111")])
    assert "changed since it was stored, or belongs to another task" in (job.reason or "")
    assert "visa 4111" not in stored(app)


def test_what_was_stored_in_plain_runs_with_a_warning(
    app: Mainspring, with_keys: Callable[..., Mainspring], caplog: pytest.LogCaptureFixture
) -> None:
    with Mainspring(app.url) as old:

        @old.task
        def charge(order: int, card: Secret[str]) -> None: ...

        jobs = [charge.enqueue(number, "visa 4111") for number in (1, 2)]
    task, had = charging(app)
    assert "card" in app.jobs.get(jobs[0].id).shown_args()
    again = app.jobs.rerun(jobs[0].id)
    assert "visa 4111" not in again.record.args, "a new job is stored as its task says now"
    drain(app)
    assert had == [(1, "visa 4111"), (2, "visa 4111"), (1, "visa 4111")]
    assert len([line for line in caplog.messages if "stored in plain" in line]) == 1
    # And a task that says nothing of it any more has what was encrypted.
    sealed = task.enqueue(3, "visa 4111")
    with with_keys(KEY) as later:
        given: list[str] = []

        @later.task(name="charge")
        def plain(order: int, card: str) -> None:
            given.append(card)

        drain(later)
    assert given == ["visa 4111"]
    assert "visa 4111" not in json.dumps(app.jobs.get(sealed.id).shown_args())


def test_an_error_about_arguments_does_not_say_it_where_the_task_does_not_mark_it(
    app: Mainspring, with_keys: Callable[..., Mainspring]
) -> None:
    job = charging(app)[0].enqueue(1, "visa 4111-1111")
    later = with_keys(KEY)

    @later.task(retry=1)
    def charge(order: int, card: int) -> None: ...

    assert drain(later).dead == 1
    assert "does not mark them" in str(app.jobs.get(job.id).error)
    assert "visa 4111-" not in stored(app)


def test_unique_jobs_are_found_by_equal_values_while_keys_are_changed(
    app: Mainspring, with_keys: Callable[..., Mainspring]
) -> None:
    def unique(*keys: str) -> Task[..., Any]:
        return charging(with_keys(*keys), unique=Unique(by=("card",), on_conflict="reject"))[0]

    unique(KEY).enqueue(1, "visa 4111")
    with pytest.raises(DuplicateJob) as caught:
        unique(OTHER, KEY).enqueue(2, "visa 4111")
    assert "visa 4111" not in str(caught.value)
    during = unique(OTHER, KEY).enqueue(3, "5500")
    for keys in ((KEY,), (KEY, OTHER), (OTHER,)):
        with pytest.raises(DuplicateJob):
            unique(*keys).enqueue(4, "5500")
    charging(app)
    app.jobs.cancel(during.id)
    assert unique(OTHER).enqueue(5, "5500").state == "queued", "all its keys are given back"


def test_names_of_keys_do_not_have_it_whatever_tells_jobs_apart(app: Mainspring) -> None:
    by_function, _ = charging(app, name="a", unique=Unique(by=lambda args: args["card"]))
    assert not by_function.enqueue(1, "visa 4111-1111").existed
    assert by_function.enqueue(2, "visa 4111-1111").existed
    whole, _ = charging(app, name="b", unique=Unique())
    assert not whole.enqueue(1, "visa 4111-1111").existed
    assert whole.enqueue(1, "visa 4111-1111").existed
    assert not whole.enqueue(1, "visa 4111-2222").existed
    often, _ = charging(app, name="c", throttle=Throttle(2, per="1h", by=("card",)))
    assert [often.enqueue(n, "visa 4111-1111").existed for n in range(3)] == [False, False, True]
    other, _ = charging(app, name="d", unique=Unique(by=("order",)))
    assert not other.enqueue(1, "visa 4111-1111").existed
    assert other.enqueue(1, "visa 4111-2222").existed
    assert "visa 4111-" not in stored(app)
    wrong, _ = charging(app, name="e", unique=Unique(by=lambda args: {args["card"]}))
    with pytest.raises(InvalidOption) as caught:
        wrong.enqueue(1, "visa 4111-1111")
    assert "visa 4111" not in str(caught.value)


def test_partitions_are_not_told_by_it(app: Mainspring) -> None:
    app.queue("named", partition="card")
    app.queue("made", partition=lambda args: f"x{args['card']}")
    app.queue("other", partition=lambda args: args["order"])
    for queue in ("named", "made"):
        with pytest.raises(InvalidOption, match="is encrypted in task"):
            charging(app, name=queue, queue=queue)[0].enqueue(1, "visa 4111")
    assert charging(app, name="fine", queue="other")[0].enqueue(1, "visa 4111").partition == "1"
    assert app.jobs.count() == 1


def test_a_job_again_with_the_same_or_with_edited_arguments(app: Mainspring) -> None:
    charge, had = charging(app, unique=Unique(until="started"))
    job = charge.enqueue(1, "visa 4111-1111")
    drain(app)
    with acting("ada"):
        app.jobs.rerun(job.id)
        app.jobs.rerun(job.id, {"order": 2, "card": "[secret]"})
        app.jobs.rerun(job.id, {"order": 3, "card": "visa 4111-2222"})
    drain(app)
    assert had == [(1, "visa 4111-1111"), (1, "visa 4111-1111"), (2, "visa 4111-1111"), (3, "visa 4111-2222")]
    assert "visa 4111-" not in json.dumps([dict(entry.detail) for entry in app.audit.list()])
    assert "visa 4111-" not in stored(app)
    with pytest.raises(ValidationError) as caught:
        app.jobs.rerun(job.id, {"order": "x", "card": ["visa 4111-3333"]})
    assert "visa 4111" not in str(caught.value)


def test_a_job_again_takes_a_key_only_where_somebody_must_read_it(
    app: Mainspring, with_keys: Callable[..., Mainspring]
) -> None:
    charge, had = charging(app)
    job = charge.enqueue(1, "visa 4111")
    with Mainspring(app.url) as stranger:
        stranger.jobs.rerun(job.id)
    with with_keys(OTHER) as newer:
        task, _ = charging(newer)
        newer.jobs.rerun(job.id)
        with pytest.raises(EncryptionKeyMissing, match=app.keyring.ids[0]):
            newer.jobs.rerun(job.id, {"order": 2, "card": "[secret]"})
        newer.jobs.rerun(job.id, {"order": 3, "card": "5500"})
        assert task.codec.encrypted
    with with_keys(KEY, OTHER) as both:
        _, had = charging(both)
        assert drain(both).dead == 0
    assert sorted(had) == [(1, "visa 4111"), (1, "visa 4111"), (1, "visa 4111"), (3, "5500")]


def test_schedules(app: Mainspring) -> None:
    charge, had = charging(app)
    app.every("1h", name="hourly", args={"order": 1, "card": "visa 4111-1111"})(charge)
    (declared,) = app.declared_schedules(0)
    assert "visa 4111-" not in declared.args
    with acting("ada"):
        app.schedules.put("daily", charge, every="1d", args={"order": 2, "card": "visa 4111-2222"})
    (view,) = app.schedules.list()
    assert (view.shown_args["card"], "visa 4111-" in json.dumps(dict(view.args))) == ("[secret]", False)
    app.schedules.run_now("daily")
    edited = app.schedules.edited(charge, {"order": 3, "card": "[secret]"}, view)
    app.schedules.put("daily", charge, every="1d", args=edited)
    app.schedules.run_now("daily")
    drain(app)
    assert had == [(2, "visa 4111-2222"), (3, "visa 4111-2222")]
    assert "visa 4111-" not in stored(app)
    assert app.schedules.edited(charge, {"order": 3, "card": "5500"}, view)["card"] == "5500"
    refund, _ = charging(app, name="refund")
    with pytest.raises(DecryptionFailed):
        app.schedules.edited(refund, {"order": 3, "card": "[secret]"}, view)
    with pytest.raises(InvalidOption):
        app.schedules.edited(charge, {"order": 3, "card": "[secret]"}, None)


def test_tasks_without_any_store_nothing_about_it(app: Mainspring) -> None:
    @app.task
    def plain(card: int, pin: Secret[str]) -> None: ...

    assert plain.enqueue(1, "visa 4111").record.options == '{"secrets":[["pin"]]}'


def test_jobs_in_transactions_and_in_an_outbox(tmp_path: Path) -> None:
    outbox = f"sqlite:///{tmp_path}/shop.db"
    (tmp_path / "shop.db").touch()
    with Mainspring(f"sqlite:///{tmp_path}/jobs.db", outbox=outbox, encryption_keys=[KEY]) as app:
        charge, had = charging(app)
        app.store.migrate()
        assert app.relayed is not None
        app.relayed.migrate()
        with closing(sqlite3.connect(tmp_path / "jobs.db")) as connection:
            connection.execute("BEGIN IMMEDIATE")
            charge.using(tx=connection).enqueue(1, "visa 4111-1111")
            connection.commit()
        with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
            connection.execute("BEGIN IMMEDIATE")
            app.outbox(connection).enqueue(charge.job(2, "visa 4111-2222"))
            rows = "\n".join(connection.iterdump())
            connection.commit()
        assert "$sealed" in rows
        assert "visa 4111-" not in rows + stored(app)
        drain(app)
        assert had == [(1, "visa 4111-1111")]
