"""An answer that is lost after the server has done its part: what was asked for is done once, and nothing is stuck."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from servers.proxy import Proxy, proxy_to
from store.conformance.scene import presence, settlement
from worker.scene import until, working

from mainspring import Context, Mainspring, Retry, RetryAfter, Snooze, Unique
from mainspring.errors import StoreError, StoreUnavailable
from mainspring.model.job import NewJob, Note
from mainspring.model.states import State
from mainspring.store.base import (
    AlterRequest,
    BeatRequest,
    ClaimRequest,
    ConfigureRequest,
    Driver,
    Filter,
    FindRequest,
    InsertRequest,
    NoteRequest,
    PauseQueue,
    PutSchedule,
    ReapRequest,
    Room,
    SettleRequest,
    Tick,
    Verb,
)
from mainspring.store.postgres import PostgresStore

WAITING = ("queued", "running", "scheduled")


IDLE = b"Z\0\0\0\5I"
"""How an answer ends after which no transaction is open."""
WRITTEN = (b"COMMIT", b"_plain", b"postponed", b"INSERT")
"""What is in the answer to a COMMIT, to a function that inserts or settles, to one that claims, to a single insert."""


def commits(piece: bytes) -> bool:
    """Whether it says that something was written for good."""
    return piece.endswith(IDLE) and any(word in piece for word in WRITTEN)


class Desk:
    """A driver by way of the proxy, where the answer to the next COMMIT can be lost, and one that looks on."""

    def __init__(self, proxy: Proxy, place: str) -> None:
        self._proxy = proxy
        self.driver = PostgresStore(proxy.url(place)).driver()
        self._direct = PostgresStore(place).driver()

    def lose_next(self) -> None:
        """The server commits, and nobody hears of it."""
        once = [True]
        self._proxy.loses = lambda piece: commits(piece) and bool(once) and once.pop()
        self._lost = self._proxy.lost

    @property
    def lost(self) -> bool:
        return self._proxy.lost > self._lost

    def jobs(self) -> dict[str, Any]:
        return {job.id: job for job in self._direct.run(FindRequest(Filter(), 100, with_log=True)).jobs}

    def schedules(self) -> Any:
        return self._direct.run(ConfigureRequest(read=frozenset({"schedules"}))).schedules

    def close(self) -> None:
        self.driver.close()
        self._direct.close()


@pytest.fixture
def proxy(place: str) -> Iterator[Proxy]:
    with proxy_to(place) as proxy:
        yield proxy


@pytest.fixture
def desk(proxy: Proxy, place: str) -> Iterator[Desk]:
    with closing(Desk(proxy, place)) as desk:
        desk.driver.run(BeatRequest(presence("w", 600_000), "join"))
        yield desk


def claimed(driver: Driver, worker: str = "w") -> Any:
    driver.run(InsertRequest((NewJob("j", "task"),)))
    return driver.run(ClaimRequest(worker, (Room("default", 1),), 1)).claims[0]


def test_an_insert(desk: Desk) -> None:
    desk.lose_next()
    desk.driver.run(InsertRequest((NewJob("1", "task"), NewJob("2", "task"))))
    assert desk.lost
    assert {id: job.state for id, job in desk.jobs().items()} == {"1": State.QUEUED, "2": State.QUEUED}


def test_a_tick(desk: Desk) -> None:
    desk.driver.run(ConfigureRequest((PutSchedule("s", "task", "{}", 1000),)))
    desk.lose_next()
    desk.driver.run(InsertRequest(ticks=(Tick("s", 1000, 2000, (NewJob("s 1000", "task"),)),)))
    assert desk.lost
    assert list(desk.jobs()) == ["s 1000"]
    assert [schedule.next_at for schedule in desk.schedules()] == [2000]


@pytest.mark.fault("lost replies", "postgres")
def test_a_claim(desk: Desk) -> None:
    """It is not sent again by itself, since the second reply would not name what the first one did."""
    desk.driver.run(InsertRequest((NewJob("j", "task"),)))
    desk.lose_next()
    with pytest.raises(StoreUnavailable):
        desk.driver.run(ClaimRequest("w", (Room("default", 1),), 1))
    assert desk.lost
    again = desk.driver.run(ClaimRequest("w", (Room("default", 1),), 1, frozenset()))
    assert [(claim.id, claim.lease) for claim in again.claims] == [("j", 1)]


def test_a_reap(desk: Desk) -> None:
    desk.driver.run(BeatRequest(presence("dead", 1), "join", now=1))
    desk.driver.run(InsertRequest((NewJob("j", "task"),), now=1))
    desk.driver.run(ClaimRequest("dead", (Room("default", 1),), 1, now=1))
    desk.lose_next()
    with pytest.raises(StoreUnavailable):
        desk.driver.run(ReapRequest("w", 10))
    assert desk.lost
    again = desk.driver.run(ClaimRequest("w", (Room("default", 1),), 1, frozenset()))
    assert [(claim.id, claim.lease) for claim in again.claims] == [("j", 2)]


@pytest.mark.parametrize("state", [State.COMPLETED, State.SCHEDULED])
@pytest.mark.fault("lost replies", "postgres")
def test_a_settle_with_a_follow_up(desk: Desk, state: State) -> None:
    done = settlement(claimed(desk.driver), state, delay_ms=60_000, follow_ups=(NewJob("after", "task"),))
    desk.lose_next()
    desk.driver.run(SettleRequest((done,)))
    assert desk.lost
    jobs = desk.jobs()
    assert jobs.keys() == {"j", "after"}
    assert (jobs["j"].state, jobs["j"].lease) == (state, 1)


def test_a_note(desk: Desk) -> None:
    claim = claimed(desk.driver)
    desk.lose_next()
    assert desk.driver.run(NoteRequest((Note("j", claim.lease, 50.0, "half"),))) == {"j"}
    assert desk.lost
    assert desk.jobs()["j"].progress == 50.0


@pytest.mark.parametrize("phase", ["join", "stay", "leave"])
def test_a_beat(desk: Desk, phase: Any) -> None:
    desk.lose_next()
    reply = desk.driver.run(BeatRequest(presence("w", 600_000), phase))
    assert desk.lost
    assert reply.alive == (phase != "leave")
    known = desk.driver.run(ConfigureRequest(read=frozenset({"workers"}))).workers
    assert [worker.id for worker in known] == ([] if phase == "leave" else ["w"])


@pytest.mark.parametrize("verb", list(Verb))
def test_an_alteration(desk: Desk, verb: Verb) -> None:
    desk.driver.run(InsertRequest((NewJob("j", "task", delay_ms=60_000),)))
    if verb is Verb.REVIVE:
        desk.driver.run(AlterRequest(Verb.CANCEL, Filter(ids=("j",))))
    desk.lose_next()
    desk.driver.run(AlterRequest(verb, Filter(ids=("j",)), value=7, reason="why"))
    assert desk.lost
    jobs = desk.jobs()
    match verb:
        case Verb.CANCEL:
            assert jobs["j"].state is State.CANCELLED
        case Verb.REVIVE:
            assert jobs["j"].state is State.QUEUED
        case Verb.RESCHEDULE:
            assert jobs["j"].run_at == 7
        case Verb.REPRIORITISE:
            assert jobs["j"].priority == 7
        case Verb.DELETE:
            assert not jobs


def test_a_change_of_settings(desk: Desk) -> None:
    desk.lose_next()
    changes = (PutSchedule("s", "task", "{}", 1000), PauseQueue("q", True))
    settings = desk.driver.run(ConfigureRequest(changes, read=frozenset({"schedules", "queues"})))
    assert desk.lost
    assert [schedule.name for schedule in settings.schedules] == ["s"]
    assert [queue.paused_at is not None for queue in settings.queues if queue.name == "q"] == [True]


async def test_enqueuers_that_let_the_library_make_the_ids(place: str, proxy: Proxy) -> None:
    """A job is there once for each call that returned, however many answers were lost meanwhile, and has run once."""
    chance = random.Random(11)
    app, direct = Mainspring(proxy.url(place)), Mainspring(place)

    @app.task
    async def work(n: int) -> None: ...

    direct.task(work.function, name="work")

    def enqueue(numbers: range) -> list[str]:
        return [work.enqueue(n).id for n in numbers]

    async with working(direct, concurrency=20):
        proxy.loses = lambda piece: commits(piece) and chance.random() < 0.05
        enqueued = await asyncio.gather(*(asyncio.to_thread(enqueue, range(first, 600, 2)) for first in range(2)))
        awaited = await asyncio.gather(*(work.aenqueue(n) for n in range(600, 650)))
        for n in range(650, 700):
            awaited.append(await work.aenqueue(n))
        proxy.loses = lambda piece: False
        await until(lambda: direct.jobs.count(state="completed") == 700, 60)
    assert proxy.lost > 10
    ended = every(direct, "work")
    assert sorted(job.args["n"] for job in ended) == list(range(700))
    assert {job.id for job in ended} == {*enqueued[0], *enqueued[1], *(job.id for job in awaited)}
    assert {job.attempt for job in ended} == {1}
    await app.aclose()
    await direct.aclose()


@pytest.mark.fault("lost replies", "postgres")
async def test_workers_and_enqueuers_whose_answers_are_lost_at_random(place: str, proxy: Proxy) -> None:
    """Two workers, two enqueuers, retries, snoozes, unique jobs, ticks, notes, cancellations."""
    chance = random.Random(7)
    app, direct = Mainspring(proxy.url(place)), Mainspring(place)
    completed, acknowledged, snoozed = Counter[str](), set[str](), set[int]()

    @app.task(retry=Retry(attempts=3, delay=0))
    async def work(ctx: Context, n: int) -> int:
        ctx.progress(n % 100)
        if ctx.attempt == 1:
            if n % 5 == 0:
                raise RetryAfter(0)
            if n % 5 == 1 and n not in snoozed:
                snoozed.add(n)
                raise Snooze("0.01s")
        return n

    @app.task(unique=Unique())
    async def once(n: int) -> int:
        return n

    @app.every("1s", name="tick")
    async def tick() -> None: ...

    @app.on("completed")
    def note(event: Any) -> None:
        completed[event.job.id] += 1

    def enqueue(numbers: range) -> None:
        for n in numbers:
            id = f"job {n}"
            while id not in acknowledged:
                try:
                    work.using(id=id).enqueue(n)
                    if n % 10 == 0:
                        once.enqueue(n)
                    acknowledged.add(id)
                except StoreError:
                    pass

    async with working(app, concurrency=20), working(app, concurrency=20):
        proxy.loses = lambda piece: chance.random() < (0.05 if commits(piece) else 0.005)
        await asyncio.gather(*(asyncio.to_thread(enqueue, range(first, 600, 2)) for first in range(2)))
        # They come too late, most likely.
        cancelled = await direct.jobs.acancel(ids=["job 1", "job 2"])
        await until(lambda: not any(direct.jobs.count(state=state, task="work") for state in WAITING), 60)
        await until(lambda: not any(direct.jobs.count(state=state, task="once") for state in WAITING), 60)
        proxy.loses = lambda piece: False
        await until(lambda: direct.jobs.count(state="completed", task="tick") > 0)
    assert proxy.lost > 20
    ended = [job for task in ("work", "once") for job in every(direct, task)]
    assert {job.id for job in ended if job.task == "work"} == acknowledged == {f"job {n}" for n in range(600)}
    assert len(ended) >= 660
    assert sum(job.state is State.CANCELLED for job in ended) <= cancelled
    ended = [job for job in ended if job.state is not State.CANCELLED]
    assert [(job.id, job.reason, job.error) for job in ended if job.state is not State.COMPLETED] == []
    assert all(len(job.attempts) <= 2 for job in ended), "no run was lost"
    ticks = [job.id for job in every(direct, "tick")]
    assert len(ticks) == len(set(ticks)) > 0
    assert {completed[job.id] for job in ended} == {1}, "observers hear of each end once"
    await app.aclose()
    await direct.aclose()


def every(app: Mainspring, task: str) -> list[Any]:
    return list(app.jobs.find(task=task, limit=1000))
