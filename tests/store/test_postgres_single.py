"""One plain job on PostgreSQL is one statement: when it is, when not, and that it comes to the same as the long way."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from servers.proxy import Proxy, proxy_to

from mainspring import Mainspring, Retry, Unique
from mainspring.errors import QueueFull, StoreUnavailable
from mainspring.model.job import NewJob
from mainspring.model.limits import Limits
from mainspring.model.states import State
from mainspring.store.base import (
    BeatRequest,
    Change,
    ClaimRequest,
    ConfigureRequest,
    DefineQueue,
    DefineTask,
    Driver,
    Filter,
    FindRequest,
    Inserted,
    InsertRequest,
    LimitPartition,
    LimitQueue,
    PauseQueue,
    Room,
    SettleRequest,
)
from mainspring.store.postgres import PostgresStore, drivers
from mainspring.testing import freeze

from .conformance.scene import presence, settlement

IDLE = b"Z\0\0\0\5I"
"""How the last piece of an answer ends where no transaction is open."""
ALONE = b"INSERT 0 1\0"
"""What is in the answer to the one statement that stored the job."""


@pytest.fixture
def proxy(postgres_store: PostgresStore, postgres: str) -> Iterator[Proxy]:
    with proxy_to(postgres) as proxy:
        yield proxy


@pytest.fixture
def app(postgres_store: PostgresStore, postgres: str, proxy: Proxy) -> Iterator[Mainspring]:
    """An app by way of the proxy, whose queue is known and whose connection is open."""
    given = f"{proxy.url(postgres)}{'&' if '?' in postgres else '?'}schema={schema_of(postgres_store)}"
    with Mainspring(given) as app:

        @app.task
        def add(a: int, b: int = 0) -> int:
            return a + b

        for _ in range(3):
            add.enqueue(0)
        yield app


def schema_of(store: PostgresStore) -> str:
    return store.url.rpartition("schema=")[2]


class Ear:
    """Hears the answers that come through the proxy."""

    def __init__(self, proxy: Proxy) -> None:
        self.answers: list[bytes] = []
        proxy.loses = self.hear

    def hear(self, piece: bytes) -> bool:
        self.answers.append(piece)
        return False

    @property
    def one_statement(self) -> bool:
        """Whether there was one answer, and it was to that statement."""
        (answer, *more) = self.answers
        return not more and ALONE in answer and answer.endswith(IDLE)


@pytest.fixture
def ear(app: Mainspring, proxy: Proxy) -> Ear:
    return Ear(proxy)


def configure(store: PostgresStore, *changes: Change) -> None:
    with closing(store.driver()) as driver:
        driver.run(ConfigureRequest(changes))


def jobs_of(store: PostgresStore) -> dict[str, Any]:
    with closing(store.driver()) as driver:
        return {job.id: job for job in driver.run(FindRequest(Filter(), 1000)).jobs}


# --- which way a job goes --------------------------------------------------------------------------------------------


def test_a_plain_job_is_one_statement(app: Mainspring, ear: Ear) -> None:
    job = app.tasks["add"].using(priority=2).enqueue(1, b=2)
    assert ear.one_statement
    assert not job.existed
    assert app.jobs.get(job.id).args == {"a": 1, "b": 2}


async def test_one_that_is_awaited_alone_is_too(app: Mainspring, ear: Ear) -> None:
    add = app.tasks["add"]
    for number in range(3):
        await add.aenqueue(number)
    ear.answers.clear()
    await add.aenqueue(1)
    assert ear.one_statement
    await app.aclose()


OTHERS: dict[str, dict[str, Any]] = {
    "an id of the caller's": {"id": "mine"},
    "a delay": {"delay": "1h"},
    "a rule of its own": {"retry": Retry(attempts=2)},
    "a key": {"unique": Unique()},
    "an idempotency key": {"idempotency_key": "k"},
    "a partition": {"partition": "p"},
    "a cost": {"cost": 2},
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_job_with_more_to_it_goes_another_way(name: str, app: Mainspring, ear: Ear) -> None:
    job = app.tasks["add"].using(**OTHERS[name]).enqueue(1)
    assert not ear.one_statement
    assert job.id in {each.id for each in app.jobs.find()}


CHANGES: dict[str, Change] = {
    "room for so many": DefineQueue("default", max_queued=100),
    "room by an operator's word": LimitQueue("default", max_queued=100),
    "room in each partition": DefineQueue("default", each=Limits(max_queued=100)),
    "room in each partition by an operator's word": LimitPartition("default", None, max_queued=100),
    "a limit of a partition": LimitPartition("default", "p", concurrency=1),
    "a partition that is paused": PauseQueue("default", True, "p"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_so_does_one_in_a_queue_that_is_not_plain(
    name: str, app: Mainspring, ear: Ear, postgres_store: PostgresStore
) -> None:
    configure(postgres_store, CHANGES[name])
    job = app.tasks["add"].enqueue(1)
    assert not ear.one_statement
    assert job.id in jobs_of(postgres_store)


@pytest.mark.parametrize(
    "change", [PauseQueue("default", True), DefineQueue("default", concurrency=1), DefineTask("other", 1)], ids=str
)
def test_what_only_claims_look_at_changes_nothing(
    change: Change, app: Mainspring, ear: Ear, postgres_store: PostgresStore
) -> None:
    configure(postgres_store, change)
    app.tasks["add"].enqueue(1)
    assert ear.one_statement


def test_a_queue_is_made_known_by_its_first_job(app: Mainspring, ear: Ear) -> None:
    add = app.tasks["add"].using(queue="new")
    add.enqueue(1)
    assert not ear.one_statement
    ear.answers.clear()
    add.enqueue(2)
    assert ear.one_statement
    assert [queue.name for queue in app.queues.list()] == ["default", "new"]


def test_a_full_queue_is_full(app: Mainspring, postgres_store: PostgresStore) -> None:
    """From the commit of the limit on, however many went the short way before."""
    configure(postgres_store, DefineQueue("default", max_queued=4))
    app.tasks["add"].enqueue(1)
    with pytest.raises(QueueFull):
        app.tasks["add"].enqueue(2)
    configure(postgres_store, DefineQueue("default"))
    app.tasks["add"].enqueue(3)


def test_settings_that_are_being_changed_hold_nobody_up(
    app: Mainspring, ear: Ear, postgres_store: PostgresStore, postgres: str
) -> None:
    with psycopg.connect(postgres) as connection:
        connection.execute(f"SELECT 1 FROM {schema_of(postgres_store)}.queues FOR UPDATE")
        connection.execute(f"UPDATE {schema_of(postgres_store)}.queues SET defined = '{{\"max_queued\": 1}}'")
        app.tasks["add"].enqueue(1)
        assert ear.one_statement
        connection.commit()
    with pytest.raises(QueueFull):
        app.tasks["add"].enqueue(2)


# --- that it comes to the same ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("gated", [False, True])
def test_the_row_is_the_one_that_the_long_way_stores(
    gated: bool, app: Mainspring, ear: Ear, postgres_store: PostgresStore, postgres: str
) -> None:
    """Also at the gate of a task."""
    if gated:
        configure(postgres_store, DefineTask("add", 5))
    add = app.tasks["add"].using(priority=7)
    at = datetime(2031, 5, 1, 9, 30, tzinfo=UTC)
    with freeze(at):
        short = add.enqueue(1, b=2)
        assert ear.one_statement
        (long,) = app.enqueue_many([add.job(1, b=2)])
    with psycopg.connect(postgres) as connection:
        rows = [
            connection.execute(
                f"SELECT to_jsonb(j) - 'id' FROM {schema_of(postgres_store)}.jobs AS j WHERE id = %s", [job.id]
            ).fetchone()
            for job in (short, long)
        ]
    assert rows[0] == rows[1] is not None
    assert json.dumps(rows[0]).count(str(round(at.timestamp() * 1000))) == 2


def test_its_times_are_the_servers_and_one(app: Mainspring, ear: Ear, postgres_store: PostgresStore) -> None:
    with closing(postgres_store.driver()) as driver:
        before = driver.run(ConfigureRequest()).now
        jobs = [app.tasks["add"].enqueue(n) for n in range(50)]
        after = driver.run(ConfigureRequest()).now
    found = jobs_of(postgres_store)
    times = [found[job.id].created_at for job in jobs]
    assert before <= times[0] <= times[-1] <= after
    assert times == sorted(times) == [found[job.id].run_at for job in jobs]


def test_large_arguments_are_taken(app: Mainspring, ear: Ear) -> None:
    @app.task
    def keep(text: str) -> None: ...

    text = "é" * 400_000
    with pytest.warns(UserWarning, match="bytes as JSON"):
        job = keep.enqueue(text)
    assert ear.one_statement
    assert app.jobs.get(job.id).args == {"text": text}


def test_it_can_be_heard(app: Mainspring, ear: Ear, postgres_store: PostgresStore, postgres: str) -> None:
    with psycopg.connect(postgres, autocommit=True) as listener:
        listener.execute(f'LISTEN "{schema_of(postgres_store)}"')
        while not [notify.payload for notify in listener.notifies(timeout=0.05)]:
            ear.answers.clear()
            app.tasks["add"].enqueue(1)
            assert ear.one_statement


def test_many_threads_enqueue_at_once(app: Mainspring, postgres_store: PostgresStore) -> None:
    with ThreadPoolExecutor(20) as threads:
        jobs = list(threads.map(app.tasks["add"].enqueue, range(400)))
    found = jobs_of(postgres_store)
    assert [json.loads(found[job.id].args)["a"] for job in jobs] == list(range(400))


def test_after_a_request_that_came_to_nothing_it_works_as_before(app: Mainspring, ear: Ear, postgres: str) -> None:
    """What was prepared on the connection is gone then."""
    driver = app._blocking.driver
    for _ in range(2):
        with pytest.raises(psycopg.errors.NotNullViolation):
            driver.run(InsertRequest((NewJob("x", None, delay_ms=5),)))  # type: ignore[arg-type]
        app.tasks["add"].enqueue(1)
        ear.answers.clear()
        app.tasks["add"].enqueue(2)
        assert ear.one_statement


# --- that there is never a second one --------------------------------------------------------------------------------


@pytest.mark.parametrize("ended", [False, True])
def test_an_id_that_is_no_news_after_all_is_one_job(ended: bool, postgres_store: PostgresStore) -> None:
    """The live ones are looked through all the same, whatever was promised; the history only if nothing was."""
    request = InsertRequest((NewJob("j", "task"),), fresh=True)
    with closing(postgres_store.driver()) as driver:
        assert driver.run(request) == (Inserted("j", False),)
        if ended:
            complete(driver)
            request = replace(request, fresh=False)
        assert driver.run(request) == (Inserted("j", True),)
    assert [job.state for job in jobs_of(postgres_store).values()] == [State.COMPLETED if ended else State.QUEUED]


async def test_so_it_is_when_awaited(postgres_store: PostgresStore) -> None:
    request = InsertRequest((NewJob("j", "task"),), fresh=True)
    driver = postgres_store.async_driver()
    assert [await driver.run(request) for _ in range(3)] == [(Inserted("j", n > 0),) for n in range(3)]
    await driver.aclose()


def complete(driver: Driver) -> None:
    """Run all there is."""
    driver.run(BeatRequest(presence("w", 600_000), "join"))
    while claims := driver.run(ClaimRequest("w", (Room("default", 10),), 10)).claims:
        driver.run(SettleRequest(tuple(map(settlement, claims))))


@pytest.mark.parametrize("ended", [False, True], ids=["still waiting", "ended meanwhile"])
def test_a_lost_answer_leaves_one_job(
    ended: bool, app: Mainspring, proxy: Proxy, postgres_store: PostgresStore
) -> None:
    """Also if it was done before the request is sent again: then its id is looked for in the history, too."""
    losing = threading.Lock()

    def lose(answer: bytes) -> bool:
        if ALONE not in answer or not losing.acquire(blocking=False):
            return False
        if ended:
            with closing(postgres_store.driver()) as driver:
                complete(driver)
        return True

    proxy.loses = lose
    job = app.tasks["add"].enqueue(7)
    assert proxy.lost == 1
    assert job.existed
    found = [each for each in jobs_of(postgres_store).values() if json.loads(each.args) == {"a": 7}]
    assert [(each.id, each.state) for each in found] == [(job.id, State.COMPLETED if ended else State.QUEUED)]


async def test_so_does_one_that_is_awaited(app: Mainspring, proxy: Proxy, postgres_store: PostgresStore) -> None:
    add = app.tasks["add"]
    for number in range(3):
        await add.aenqueue(number)
    once = [True]
    proxy.loses = lambda answer: ALONE in answer and bool(once) and once.pop()
    job = await add.aenqueue(7)
    assert (proxy.lost, job.existed) == (1, True)
    found = [each.id for each in jobs_of(postgres_store).values() if json.loads(each.args) == {"a": 7}]
    assert found == [job.id]
    await app.aclose()


def test_a_connection_that_has_just_died_is_replaced(app: Mainspring, proxy: Proxy) -> None:
    for number in range(5):
        proxy.cut()
        assert not app.tasks["add"].enqueue(number).existed


def test_a_session_that_is_ended_in_the_middle_is_begun_anew(
    app: Mainspring, postgres_store: PostgresStore, postgres: str
) -> None:
    schema = schema_of(postgres_store)
    with ThreadPoolExecutor(1) as thread, psycopg.connect(postgres) as locking:
        locking.execute(f"LOCK TABLE {schema}.jobs")
        enqueued = thread.submit(app.tasks["add"].enqueue, 7)
        with psycopg.connect(postgres, autocommit=True) as other:
            while not other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                f"WHERE wait_event_type = 'Lock' AND query LIKE '%INSERT INTO \"{schema}\".jobs%'"
            ).fetchall():
                assert not enqueued.done()
        locking.rollback()
        job = enqueued.result()
    assert not job.existed
    assert [each.id for each in jobs_of(postgres_store).values() if json.loads(each.args) == {"a": 7}] == [job.id]


def test_a_server_that_is_silent_is_not_waited_for(
    app: Mainspring, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drivers, "OPERATION_SECONDS", 0.3)
    monkeypatch.setattr(drivers, "GRACE_SECONDS", 0.1)
    proxy.freeze()
    with pytest.raises(StoreUnavailable, match="did not answer in time"):
        app.tasks["add"].enqueue(1)
    proxy.thaw()
    app.tasks["add"].enqueue(2)
