"""Programs that die, stand still, go by wrong clocks, and a disk that fills, on each store.

The store is real, and so are the programs; each test breaks one thing, at a moment that it has chosen.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from worker.scene import wait_until

from mainspring import Job, JobFailed, Mainspring, State, StoreError
from mainspring.errors import StoreFull
from mainspring.model.outcome import Verdict
from mainspring.model.states import FINAL

from .chaos.ground import Ground
from .chaos.programs import Program

LEASE, REAP = 4.0, 5.0
PATIENCE = 8.0
"""How much longer a busy machine may take."""

numbers = itertools.count(1)


class Place:
    """A store, a folder, and the programs at work there."""

    def __init__(self, ground: Ground, folder: Path) -> None:
        self.ground = ground
        self.folder = folder
        self.url = ground.apart()
        self.app = Mainspring(self.url)
        self.app.store.migrate()
        self.programs: list[Program] = []
        for task, queue in (("held", "default"), ("quick", "other"), ("poison", "default")):
            self.app.task(name=task, queue=queue)(_elsewhere)
        self.app.task(name="blocking")(_for_a_while)

    def worker(self, wrong: float = 0.0, lease: float = LEASE, queues: tuple[str, ...] = ()) -> Program:
        """A worker that has registered; its clock is wrong by so many seconds."""
        name = f"worker {next(numbers)}"
        options = ["--lease", f"{lease:g}s", "--grace", "1s", "--name", name]
        command = ["mainspring", "worker", "faults.workshop:app", *options]
        for queue in queues:
            command += ["-q", queue]
        program = self.program(name, command, wrong)
        wait_until(lambda: name in self.alive(), what=f"{name} registers: {program.last_words()}")
        return program

    def program(self, name: str, command: list[str], wrong: float = 0.0) -> Program:
        environment = {"MAINSPRING_URL": self.url, "CHAOS_CLOCK_OFFSET": str(wrong)}
        program = Program(name, command, self.folder, environment)
        program.start()
        self.programs.append(program)
        return program

    def alive(self) -> list[str]:
        return [worker.name for worker in self.app.workers.list() if worker.alive]

    def enqueue(self, task: str, **args: Any) -> Job[Any]:
        return self.app.enqueue(task, args)

    def notes(self, what: str) -> list[list[str]]:
        file = self.folder / "notes.txt"
        lines = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
        return [words[1:] for words in lines if words[0] == what]

    def go(self, lease: int) -> None:
        """Let runs under this lease end."""
        (self.folder / f"go-{lease}").touch()

    def close(self) -> None:
        for program in self.programs:
            program.close()
        self.app.close()


async def _elsewhere() -> Any: ...


async def _for_a_while(seconds: float) -> None: ...


@pytest.fixture
def place(each_store: Ground, tmp_path: Path) -> Iterator[Place]:
    place = Place(each_store, tmp_path)
    yield place
    place.close()


@pytest.mark.fault("kill -9 a worker", "sqlite", "postgres", "redis")
def test_the_job_of_a_killed_worker_runs_elsewhere_and_no_other_pays(place: Place) -> None:
    """Within lease, reap and a moment; the killed run costs no attempt; the others' jobs are not delayed meanwhile."""
    doomed = place.worker()
    job = place.enqueue("held")
    wait_until(lambda: place.notes("held"))
    place.worker()
    place.go(3)
    doomed.kill()
    died = time.monotonic()
    took = []
    while job.refresh().state not in FINAL:
        asked = time.monotonic()
        place.enqueue("quick").result(20)
        took.append(time.monotonic() - asked)
        assert time.monotonic() - died < LEASE + REAP + PATIENCE
    assert job.result() == 3  # reaping raises the fence, and so does claiming
    assert (job.attempt, job.crashes) == (1, 1)
    assert [attempt.verdict for attempt in job.attempts] == [Verdict.LOST, Verdict.COMPLETED]
    assert max(took) < LEASE + REAP / 2


@pytest.mark.fault("SIGSTOP past the lease, SIGCONT", "sqlite", "postgres", "redis")
def test_a_worker_frozen_past_its_lease_changes_nothing_when_it_thaws(place: Place) -> None:
    """One re-run; what the stale one comes to, and says of its progress, is refused."""
    frozen = place.worker()
    job = place.enqueue("held")
    wait_until(lambda: place.notes("held"))
    frozen.freeze()
    place.worker()
    wait_until(lambda: len(place.notes("held")) == 2, LEASE + REAP + PATIENCE)
    place.go(1)  # the first run may end as soon as it thaws
    frozen.thaw()
    wait_until(lambda: len(place.alive()) == 2, what="it registers anew")
    assert job.refresh().state is State.RUNNING
    place.go(3)
    assert job.result(20) == 3
    job.refresh()
    assert (job.progress, job.progress_text) == (3, "lease 3")
    assert [attempt.verdict for attempt in job.attempts] == [Verdict.LOST, Verdict.COMPLETED]
    assert len(place.notes("held")) == 2


@pytest.mark.fault("kill -9 who enqueues", "sqlite", "postgres", "redis")
def test_a_killed_enqueuer_leaves_each_job_whole_or_not_at_all(place: Place) -> None:
    """What it was told is stored is there, once; of the request that it died with, all or nothing."""
    enqueuer = place.program("enqueuer", ["faults.workshop"])
    wait_until(lambda: len(place.notes("stored")) > 200, what=enqueuer.last_words())
    enqueuer.kill()
    told = {id for _, id in place.notes("stored")}
    found = list(every(place.app, task="numbered"))
    assert told <= {job.id for job in found}
    copies = Counter(job.args["number"] for job in found)
    assert set(copies.values()) == {1}
    many = [number for number in copies if number % 10 < 9]
    assert len(many) % 9 == 0


@pytest.mark.fault("poison job", "sqlite", "postgres", "redis")
def test_a_job_that_kills_its_workers_is_dead_after_three(place: Place) -> None:
    """However often its workers come back; then they go on."""
    job = place.enqueue("poison")
    worker = place.worker(lease=1)
    deadline = time.monotonic() + 3 * (1 + REAP) + 8 * PATIENCE
    while job.refresh().state not in FINAL:
        worker.start()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with pytest.raises(JobFailed, match="poison"):
        job.result()
    assert (job.crashes, job.reason) == (3, "poison")
    assert len(place.notes("poison")) == 3
    worker.start()
    place.enqueue("quick").result(20)


@pytest.mark.fault("blocked event loop", "sqlite", "postgres", "redis")
def test_a_blocked_loop_keeps_its_lease_and_the_guilty_job_is_named(place: Place) -> None:
    """For three leases nothing else runs there, and somebody stands by to reap."""
    worker = place.worker()
    place.worker(queues=("none",))
    job = place.enqueue("blocking", seconds=3 * LEASE)
    job.result(3 * LEASE + 20)
    job.refresh()
    assert [attempt.verdict for attempt in job.attempts] == [Verdict.COMPLETED]
    said = worker.last_words(100)
    assert f"job {job.id} (blocking)" in said
    assert "time.sleep(seconds)" in said


@pytest.mark.fault("clocks wrong by an hour", "postgres", "redis")
def test_clocks_that_are_wrong_by_an_hour_decide_nothing(place: Place) -> None:
    """Nobody's lease is taken or outlives him, delays are the store's, each slot ticks once."""
    if not place.ground.clocks_of_its_own:
        pytest.skip("all programs of an SQLite file are on one machine, and go by its one clock")
    ahead, behind = place.worker(wrong=3600), place.worker(wrong=-3600)
    job = place.enqueue("held")
    wait_until(lambda: place.notes("held"))
    asked = time.monotonic()
    later = place.app.tasks["quick"].using(delay=1.5).enqueue()
    assert later.result(20) - asked >= 1.4
    assert time.monotonic() - asked < 1.5 + PATIENCE
    wait_until(lambda: time.monotonic() - asked > LEASE + REAP + 1, LEASE + REAP + PATIENCE)
    assert job.refresh().state is State.RUNNING
    place.go(1)
    job.result(20)
    assert [attempt.verdict for attempt in job.refresh().attempts] == [Verdict.COMPLETED]
    ticks = [round(job.run_at.timestamp()) for job in every(place.app, task="tick")]
    assert sorted(ticks) == list(range(min(ticks), max(ticks) + 1))
    ahead.kill()
    behind.kill()
    wait_until(lambda: not place.alive(), LEASE + PATIENCE)


@pytest.mark.fault("full disk", "sqlite", "postgres", "redis")
def test_a_full_disk_is_said_and_heals(place: Place) -> None:
    """Whoever asks is told by a typed error; once there is room, all goes on; nothing that was stored is lost."""
    if not place.ground.disk.small:
        pytest.skip("mounting a small disk takes root")
    place.worker(lease=30)
    stored = [place.enqueue("quick").id for _ in range(20)]
    disk, errors = place.ground.disk, list[StoreError]()
    disk.fill()
    try:
        deadline = time.monotonic() + 30
        while not errors and time.monotonic() < deadline:
            try:
                draft = place.app.tasks["blocking"].using(queue="none").job(seconds=0)
                stored += [job.id for job in place.app.enqueue_many([draft])]
            except StoreError as error:
                errors.append(error)
    finally:
        disk.free()
        place.ground.start()
    assert errors, "the disk was never full"
    # A server may have gone down with it; then it was not there to say what it lacked.
    assert isinstance(errors[0], StoreFull) or place.ground.has_server
    wait_until(lambda: _answers(place), 40)
    assert {job.id for job in every(place.app)} >= set(stored)
    assert place.enqueue("quick").result(40)


def _answers(place: Place) -> bool:
    with suppress(StoreError):
        place.enqueue("quick")
        return True
    return False


def every(app: Mainspring, **where: Any) -> Iterator[Job[Any]]:
    """All jobs that fit."""
    cursor: str | None = None
    while True:
        page = app.jobs.find(limit=1000, cursor=cursor, **where)
        yield from page
        if (cursor := page.cursor) is None:
            return
