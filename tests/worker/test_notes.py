"""Log lines and progress on their way to the store: each line is written once, and none is left of runs that ended."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import AsyncIterator
from contextlib import closing
from functools import partial

import pytest
from pydantic import BaseModel, field_serializer

from mainspring import Context, LeaseLost, Mainspring, State
from mainspring.model.clock import StoreClock
from mainspring.model.job import NewJob
from mainspring.model.settlement import Settlement
from mainspring.store.base import (
    LOG_LINES_KEPT,
    AsyncDriver,
    BeatRequest,
    ClaimRequest,
    ConfigureRequest,
    Filter,
    FindRequest,
    InsertRequest,
    Presence,
    Room,
    SettleRequest,
)
from mainspring.worker.completer import Completer
from mainspring.worker.notebook import Notebook
from mainspring.worker.output import OUTPUT_KEPT
from mainspring.worker.run import Run

from .scene import AT_ONCE, NotesOnTheWay, ended, path_of, until, working


async def test_lines_are_written_once_whatever_replies_are_lost(
    app: Mainspring, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes, go_on = NotesOnTheWay(monkeypatch, app.store, lost=3), threading.Event()
    notes.through.set()

    @app.task
    def work(ctx: Context) -> None:
        for number in range(5):
            ctx.log(f"line {number}")
            go_on.wait(0.05)
        assert go_on.wait(20)
        ctx.log("last")

    job = work.enqueue()
    async with working(app):
        await until(lambda: not notes.lost)
        go_on.set()
        await ended(job)
    assert [line.text for line in app.jobs.log(job.id)] == [*(f"line {number}" for number in range(5)), "last"]


async def test_lines_that_come_while_others_are_written_stand_after_them(app: Mainspring) -> None:
    @app.task
    async def work(ctx: Context, name: str) -> None:
        for number in range(300):
            ctx.log(f"{name} {number}")
            ctx.progress(number / 3)
            if number % 100 == 99:
                await until(partial(has, ctx.job.id, number + 1))
            await asyncio.sleep(0)

    async def has(job: str, lines: int) -> bool:
        return len(await app.jobs.alog(job)) == lines

    jobs = [work.enqueue(name) for name in "abc"]
    async with working(app):
        await ended(*jobs)
    for job, name in zip(jobs, "abc", strict=True):
        assert [line.text for line in app.jobs.log(job.id)] == [f"{name} {number}" for number in range(300)]


@pytest.mark.parametrize("executor", ["loop", "thread"])
async def test_output_arrives_as_it_was_put_out(app: Mainspring, executor: str) -> None:
    """However much of it, in however small parts, from wherever the task runs."""
    words = [f"{number} " for number in range(2000)]

    def put_out(ctx: Context) -> None:
        for word in words:
            ctx.output(word)

    async def put_out_slowly(ctx: Context) -> None:
        for number, word in enumerate(words):
            ctx.output(word)
            if number % 100 == 0:
                await asyncio.sleep(0.02)

    job = app.task(put_out if executor == "thread" else put_out_slowly).enqueue()  # type: ignore[arg-type]
    async with working(app):
        await ended(job)
    seen = app.jobs.get(job.id)
    assert seen.output == "".join(words)
    assert len(seen.record.output) < 200  # a few times a second, and not each word by itself


async def test_output_is_written_once_whatever_replies_are_lost(
    app: Mainspring, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes, go_on = NotesOnTheWay(monkeypatch, app.store, lost=3), threading.Event()
    notes.through.set()

    @app.task
    def work(ctx: Context) -> None:
        for number in range(5):
            ctx.output(f"{number} ")
            go_on.wait(0.05)
        assert go_on.wait(20)
        ctx.output("last")

    job = work.enqueue()
    async with working(app):
        await until(lambda: not notes.lost)
        go_on.set()
        await ended(job)
    assert app.jobs.get(job.id).output == "0 1 2 3 4 last"


async def test_the_last_output_is_kept(app: Mainspring) -> None:
    """A run may put out as much as it likes."""

    @app.task
    def work(ctx: Context) -> None:
        for number in range(300):
            ctx.output(f"{number:03}" + "x" * 9_997)
        ctx.output("\x00\ud800 end")

    job = work.enqueue()
    async with working(app):
        await ended(job)
    output = app.jobs.get(job.id).output
    assert OUTPUT_KEPT - 20_000 < len(output) <= OUTPUT_KEPT
    assert output.endswith("x" * 9_997 + "\ufffd\ufffd end")


async def test_an_attempt_that_puts_something_out_begins_anew(app: Mainspring) -> None:
    @app.task(retry=AT_ONCE)
    def work(ctx: Context) -> None:
        ctx.output(f"attempt {ctx.attempt}")
        if ctx.attempt < 2:
            raise ValueError

    job = work.enqueue()
    async with working(app):
        await ended(job)
    assert app.jobs.get(job.id).output == "attempt 2"


# --- the notebook itself, on a store ---------------------------------------------------------------------------------


class Desk:
    """A notebook that is written, and runs that write in it."""

    def __init__(self, driver: AsyncDriver, clock: StoreClock) -> None:
        self.driver = driver
        self.clock = clock
        self.notebook = Notebook(driver, clock)
        self.writing = asyncio.create_task(self.notebook.keep_writing())

    async def start(self, id: str) -> Run:
        """Claim a job, a new one or one that is there."""
        await self.driver.run(InsertRequest((NewJob(id, "task", queue=id),)))
        (claim,) = (await self.driver.run(ClaimRequest("desk", (Room(id, 1),), 1))).claims
        return Run(claim)

    async def settle(self, run: Run, state: State = State.COMPLETED) -> None:
        """As somebody does who knows nothing of this notebook."""
        claim = run.claim
        settlement = Settlement(claim.id, claim.lease, state, claim.attempt, 0, 0, "[]")
        assert await self.driver.run(SettleRequest((settlement,)))

    async def stored(self, run: Run) -> list[str]:
        page = await self.driver.run(FindRequest(Filter(ids=(run.claim.id,)), with_log=True))
        return [line.text for line in page.jobs[0].log]

    async def round(self) -> None:
        """Until something has been written that is said now: then so has all that was to be written before."""
        probe = await self.start(f"probe {time.monotonic_ns()}")
        self.notebook.log(probe, "here")
        await until(lambda: probe.claim.id not in self.notebook._pages)
        assert await self.stored(probe) == ["here"]


@pytest.fixture
async def desk(app: Mainspring) -> AsyncIterator[Desk]:
    driver = app.store.async_driver()
    now = (await driver.run(ConfigureRequest())).now
    await driver.run(BeatRequest(Presence("desk", "desk", (), ("task",), 9, 0, 60_000), "join"))
    desk = Desk(driver, StoreClock(time.monotonic, now))
    yield desk
    desk.writing.cancel()
    await asyncio.gather(desk.writing, return_exceptions=True)
    await driver.aclose()


async def test_nothing_is_kept_of_what_is_written_and_numbers_go_on(desk: Desk) -> None:
    run, notebook = await desk.start("j"), desk.notebook
    for text in ("a", "b", "c"):
        notebook.log(run, text)
        notebook.progress(run, 50, text)
        await desk.round()
        assert notebook._pages == {}
    assert await desk.stored(run) == ["a", "b", "c"]
    assert run.logged == 3


@pytest.mark.parametrize("state", [State.COMPLETED, State.QUEUED])
async def test_a_run_that_has_lost_its_job_leaves_nothing_however_long_it_talks_on(desk: Desk, state: State) -> None:
    run, notebook = await desk.start("j"), desk.notebook
    await desk.settle(run, state)
    for _ in range(2):
        notebook.log(run, "stale")
        notebook.progress(run, 50, "stale")
        await desk.round()
        assert notebook._pages == {}
    assert await desk.stored(run) == []


async def test_what_is_taken_is_not_here_any_more(desk: Desk) -> None:
    run, silent, notebook = await desk.start("j"), await desk.start("silent"), desk.notebook
    assert await notebook.take([run.claim, silent.claim]) == ()
    notebook.log(run, "a")
    (note,) = await notebook.take([run.claim, silent.claim])
    assert (note.id, note.lease, note.first, [line.text for line in note.lines]) == ("j", 1, 0, ["a"])
    assert notebook._pages == {}
    notebook.log(run, "b")
    (note,) = await notebook.take([run.claim])
    assert (note.first, [line.text for line in note.lines]) == (1, ["b"])
    await desk.round()
    assert await desk.stored(run) == []


async def test_what_is_held_is_written_by_nobody_else_until_it_is_let_go(desk: Desk) -> None:
    run, silent, notebook = await desk.start("j"), await desk.start("silent"), desk.notebook
    notebook.log(run, "a")
    assert notebook.hold(silent) == ()
    (note,) = notebook.hold(run)
    assert [line.text for line in note.lines] == ["a"]
    notebook.log(run, "b")
    await desk.round()
    assert await desk.stored(run) == []
    (note,) = notebook.hold(run)
    assert (note.first, [line.text for line in note.lines]) == (0, ["a", "b"])
    notebook.let_go(run)
    notebook.let_go(silent)
    await desk.round()
    assert (await desk.stored(run), notebook._pages) == (["a", "b"], {})
    notebook.hold(run)
    assert await notebook.take([run.claim]) == ()
    assert notebook._pages == {}


async def test_a_stale_run_does_not_speak_for_the_one_that_has_the_job_now(desk: Desk) -> None:
    stale, notebook = await desk.start("j"), desk.notebook
    await desk.settle(stale, State.QUEUED)
    fresh = await desk.start("j")
    notebook.log(stale, "stale")
    notebook.log(fresh, "a")
    notebook.log(stale, "stale")
    notebook.progress(stale, 1, "stale")
    assert notebook.hold(stale) == await notebook.take([stale.claim]) == ()
    notebook.let_go(stale)
    await desk.round()
    notebook.log(fresh, "b")
    (note,) = await notebook.take([fresh.claim])
    assert (note.first, note.progress, [line.text for line in note.lines]) == (1, None, ["b"])
    assert await desk.stored(fresh) == ["a"]


async def test_who_talks_faster_than_it_is_written_loses_the_oldest_lines(desk: Desk) -> None:
    run, notebook = await desk.start("j"), desk.notebook
    for number in range(LOG_LINES_KEPT + 50):
        notebook.log(run, f"{number}")
    (note,) = notebook.hold(run)
    assert (note.first, note.lines[0].text, len(note.lines)) == (50, "50", LOG_LINES_KEPT)
    notebook.let_go(run)
    await desk.round()
    notebook.log(run, "last")
    await desk.round()
    assert await desk.stored(run) == [f"{number}" for number in range(51, LOG_LINES_KEPT + 50)] + ["last"]


async def test_a_settlement_waits_for_no_write_that_is_about_others(
    app: Mainspring, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = NotesOnTheWay(monkeypatch, app.store)

    @app.task
    def talk(ctx: Context) -> None:
        ctx.log("a")
        assert notes.sent.wait(20)
        done.wait(20)
        ctx.log("b")

    @app.task
    def other(ctx: Context) -> None:
        assert notes.sent.wait(20)
        ctx.log("c")

    done = threading.Event()
    jobs = [talk.enqueue(), other.enqueue()]
    async with working(app):
        await ended(jobs[1])
        done.set()
        notes.through.set()
        await ended(jobs[0])
    assert [[line.text for line in app.jobs.log(job.id)] for job in jobs] == [["a", "b"], ["c"]]


async def test_a_run_that_is_given_up_while_it_completes_its_job_leaves_nothing(app: Mainspring, desk: Desk) -> None:
    """Between the look at whether it still has its job and the settlement lies foreign code: its result's own."""
    run, notebook = await desk.start("j"), desk.notebook

    class Slow(BaseModel):
        n: int = 0

        @field_serializer("n")
        def end_meanwhile(self, n: int) -> int:
            run.ended = True
            return n

    @app.task(name="task")
    def work() -> object: ...

    completer = Completer(app.store, app.tasks, desk.clock, notebook)
    with closing(sqlite3.connect(path_of(app))) as connection:
        with pytest.raises(LeaseLost):
            await asyncio.to_thread(completer.complete, run, Slow(), connection)
        connection.commit()
    assert (run.completion, notebook._pages) == (None, {})
    page = await desk.driver.run(FindRequest(Filter(ids=("j",))))
    assert page.jobs[0].state is State.RUNNING
