"""Why a job is not running, in one sentence: `explain(situation)`.

The sentence is about the job, which it does not name: "waits for 2 of 5 parents: …", "queue 'api' is paused since …".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from mainspring.model import failure
from mainspring.model.durations import span
from mainspring.model.job import JobRecord, Parent, Policy
from mainspring.model.limits import Rate
from mainspring.model.outcome import Outcome
from mainspring.model.states import LIVE, State
from mainspring.model.text import cut, quote

__all__ = ["NAMED", "Ahead", "Gate", "Situation", "WorkerSeen", "explain"]

NAMED = 3
"""How many of the parents that a job waits for, or of the queues that workers take, are named."""
_ERROR_BYTES = 200


@dataclass(frozen=True, slots=True)
class Gate:
    """What a queue, a partition or a task lets through at present."""

    paused_at: int | None = None
    concurrency: int | None = None
    running: int = 0
    """How many jobs run there."""
    rates: tuple[Rate, ...] = ()
    opens_at: int | None = None
    """When time lets the next job of cost 1 through; None: at once."""


@dataclass(frozen=True, slots=True)
class WorkerSeen:
    """A worker as it last described itself."""

    id: str
    name: str
    queues: tuple[str, ...]
    tasks: tuple[str, ...]
    concurrency: int
    running: int
    """By its last heartbeat."""
    quiet: bool
    alive: bool
    beat_at: int


@dataclass(frozen=True, slots=True)
class Ahead:
    """About how many queued jobs are served before one."""

    count: int = 0
    more: bool = False
    """There may be more of them."""


@dataclass(frozen=True, slots=True)
class Situation:
    """A job, and all that can hold it back, as of `now`. What is left out holds nothing back."""

    job: JobRecord
    """With its parents."""
    now: int
    queue: Gate = field(default_factory=Gate)
    partition: Gate = field(default_factory=Gate)
    task: Gate = field(default_factory=Gate)
    holder: str | None = None
    """The id of the job that is under way in the sequence of the job's partition."""
    others: tuple[JobRecord, ...] = ()
    """The first `NAMED` of the parents that have not ended, and the holder of the sequence."""
    workers: tuple[WorkerSeen, ...] = ()
    running: Mapping[str, int] = field(default_factory=dict)
    """How many jobs run, by queue."""
    ahead: Ahead = field(default_factory=Ahead)


@dataclass(frozen=True, slots=True)
class _Cause:
    text: str
    passes: bool = False
    """It ends without anybody's doing, once the job is ready."""
    of_job: bool = False
    """The text is said of the job itself, and wants a subject after another one."""


def explain(situation: Situation) -> str:
    """One sentence: why the job is not running; for one that runs or has ended, since when or why.

    Of all that holds it back, what comes first in this order is said, and what would still hold it back then, after an
    "and"; nothing more:

    1. what is its own: its parents, then the time at which it is due;
    2. what stays until somebody does something: a pause (its queue's, its partition's); no worker that would take it; a
       dead job that holds up its sequence;
    3. what passes by itself, of which only a job that is ready has to be told: the job before it in its sequence; a
       gate that time opens, the last one to open first; a gate that is full (partition, task, queue: the narrowest
       first); busy workers; a cost that may not fit yet; the jobs that are queued before it.
    """
    job = situation.job
    match job.state:
        case State.RUNNING:
            said = _runs(situation)
        case State.COMPLETED | State.DEAD | State.CANCELLED:
            return _ended(job, situation.now)
        case _:
            said = _waits(situation)
    return f"{said}; asked to cancel" if job.cancel_requested else said


def _waits(situation: Situation) -> str:
    causes = list(_causes(situation))
    if not causes:
        return "nothing holds it back: the next worker with room takes it"
    first, *rest = causes
    second = next((cause for cause in rest if first.passes or not cause.passes), None)
    if second is None:
        return first.text
    subject = "it " if second.of_job and not first.of_job else ""
    return f"{first.text}, and {subject}{second.text}"


def _causes(situation: Situation) -> Iterator[_Cause]:
    """All that holds a waiting job back, in the order that `explain` promises."""
    yield from _parents(situation)
    yield from _time(situation)
    yield from _pauses(situation)
    yield from _no_worker(situation)
    yield from _sequence(situation)
    if situation.job.state is not State.BLOCKED and situation.job.run_at <= situation.now:
        yield from _closed(situation)
        yield from _full(situation)
        yield from _busy(situation)
        yield from _cost(situation)
        ahead = situation.ahead
        if ahead.count > 0:
            about = "at least" if ahead.more else "about"
            yield _Cause(f"is queued behind {about} {_counted(ahead.count, 'other')}", passes=True, of_job=True)


# --- 1. its own ------------------------------------------------------------------------------------------------------


def _parents(situation: Situation) -> Iterator[_Cause]:
    job = situation.job
    if job.state is not State.BLOCKED:
        return
    waiting = [parent for parent in job.parents if parent.state is None]
    if not waiting:
        yield _Cause("its parents have ended: the next request of any worker releases it", of_job=False)
        return
    everyone = _counted(len(job.parents), "parent")
    if all(parent.policy is Policy.DEAD for parent in job.parents):
        said = f"waits for one of {everyone} to be dead"
    else:
        said = f"waits for {len(waiting):,} of {everyone}"
    yield _Cause(f"{said}: {_named(waiting, situation.others)}", of_job=True)


def _named(parents: Sequence[Parent], others: Sequence[JobRecord]) -> str:
    known = {other.id: other for other in others}
    named = [
        f"{parent.id} ({known[parent.id].task}, {known[parent.id].state})" if parent.id in known else parent.id
        for parent in parents[:NAMED]
    ]
    return ", ".join([*named, *_more(len(parents))])


def _time(situation: Situation) -> Iterator[_Cause]:
    job, now = situation.job, situation.now
    if job.run_at <= now:
        return
    when = f"in {_span(job.run_at - now)} (at {_clock(job.run_at, now)})"
    if job.state is not State.SCHEDULED or not job.reason:
        yield _Cause(f"is due {when}", of_job=True)
    elif _is_parked(job) and not any(job.task in worker.tasks for worker in _at_work(situation)):
        yield _Cause(f"no worker knows task {quote(job.task)}: it is looked at again {when}")
    else:
        yield _Cause(f"is tried again {when}: {_line(job.reason)}", of_job=True)


def _is_parked(job: JobRecord) -> bool:
    return job.reason == Outcome.unknown(job.task).reason


# --- 2. what somebody has to see to ----------------------------------------------------------------------------------


def _pauses(situation: Situation) -> Iterator[_Cause]:
    for label, gate in reversed(_gates(situation)):
        if gate.paused_at is not None:
            yield _Cause(f"{label} is paused since {_clock(gate.paused_at, situation.now)}")


def _no_worker(situation: Situation) -> Iterator[_Cause]:
    job, now = situation.job, situation.now
    at_work = _at_work(situation)
    takers = _takers(situation)
    if not at_work:
        yield _Cause(_nobody(situation.workers, now))
    elif not takers:
        queues = sorted({queue for worker in at_work for queue in worker.queues})
        taken = ", ".join([*map(quote, queues[:NAMED]), *_more(len(queues))])
        yield _Cause(f"no worker takes queue {quote(job.queue)} (workers take: {taken})")
    elif not any(job.task in worker.tasks for worker in at_work):
        if not (_is_parked(job) and job.run_at > now):  # said together with its time
            yield _Cause(f"no worker knows task {quote(job.task)}")
    elif not any(job.task in worker.tasks for worker in takers):
        yield _Cause(f"no worker that takes queue {quote(job.queue)} knows task {quote(job.task)}")


def _nobody(workers: Sequence[WorkerSeen], now: int) -> str:
    quiet = sum(worker.alive for worker in workers)
    if quiet:
        return f"no worker takes jobs ({_counted(quiet, 'worker')} running, told to be quiet or stopping)"
    if workers:
        heard = max(worker.beat_at for worker in workers)
        return f"no worker is running (the last was heard of at {_clock(heard, now)})"
    return "no worker is running"


def _at_work(situation: Situation) -> list[WorkerSeen]:
    return [worker for worker in situation.workers if worker.alive and not worker.quiet]


def _takers(situation: Situation) -> list[WorkerSeen]:
    return [worker for worker in _at_work(situation) if situation.job.queue in worker.queues]


def _sequence(situation: Situation) -> Iterator[_Cause]:
    """Of a live job before it only one that is ready itself is told."""
    job = situation.job
    holder = next((other for other in situation.others if other.id == situation.holder), None)
    if holder is None or holder.id == job.id:
        return
    where = f"partition {quote(job.partition)}" if job.partition else f"queue {quote(job.queue)}"
    is_dead = holder.state is State.DEAD
    stands = "dead: retry or delete it" if is_dead else str(holder.state)
    if is_dead or holder.state in LIVE:
        said = f"waits behind job {holder.id} ({holder.task}, {stands}) in the sequence of {where}"
        yield _Cause(said, passes=not is_dead, of_job=True)


# --- 3. what passes by itself ----------------------------------------------------------------------------------------


def _gates(situation: Situation) -> list[tuple[str, Gate]]:
    """The gates that the job goes through, the narrowest first, each with what it is called."""
    job = situation.job
    queue = f"queue {quote(job.queue)}"
    return [
        (f"partition {quote(job.partition)} of {queue}", situation.partition),
        (f"task {quote(job.task)}", situation.task),
        (queue, situation.queue),
    ]


def _closed(situation: Situation) -> Iterator[_Cause]:
    closed = [
        (gate.opens_at, label, gate)
        for label, gate in _gates(situation)
        if gate.opens_at is not None and gate.opens_at > situation.now
    ]
    for opens_at, label, gate in sorted(closed, key=lambda each: each[0], reverse=True):
        rates = f" ({_rates(gate)})" if gate.rates else ""
        yield _Cause(f"gate of {label} is closed until {_clock(opens_at, situation.now)}{rates}", passes=True)


def _full(situation: Situation) -> Iterator[_Cause]:
    for label, gate in _gates(situation):
        if gate.concurrency is not None and gate.running >= gate.concurrency:
            yield _Cause(f"{label} has {gate.running:,} of {gate.concurrency:,} running", passes=True)


def _busy(situation: Situation) -> Iterator[_Cause]:
    takers = _takers(situation)
    slots = sum(worker.concurrency for worker in takers)
    if not takers or _in_use(situation, takers) < slots:
        return
    queue = quote(situation.job.queue)
    if len(takers) == 1:
        yield _Cause(f"the worker that takes queue {queue} is busy ({slots:,} of {slots:,} slots)", passes=True)
    else:
        yield _Cause(f"all workers that take queue {queue} are busy ({slots:,} of {slots:,} slots)", passes=True)


def _in_use(situation: Situation, takers: Sequence[WorkerSeen]) -> int:
    """How many jobs these workers run. What their heartbeats say is seconds old, so it counts only where others run
    jobs of the same queues too."""
    served = {queue for worker in takers for queue in worker.queues}
    rest = [worker for worker in situation.workers if worker.alive and worker not in takers]
    if any(served.intersection(worker.queues) for worker in rest):
        return sum(worker.running for worker in takers)
    return sum(situation.running.get(queue, 0) for queue in served)


def _cost(situation: Situation) -> Iterator[_Cause]:
    """Records tell when a job of cost 1 is let through; a dearer one may have to wait longer."""
    cost = situation.job.cost
    for label, gate in _gates(situation):
        if cost > 1 and gate.rates and gate.opens_at is None:
            yield _Cause(f"its cost of {cost:,} may not fit yet into the {_rates(gate)} of {label}", passes=True)
            return


def _rates(gate: Gate) -> str:
    return f"rate{'' if len(gate.rates) == 1 else 's'} {', '.join(map(str, gate.rates))}"


# --- running, ended --------------------------------------------------------------------------------------------------


def _runs(situation: Situation) -> str:
    job, now = situation.job, situation.now
    worker = next((worker for worker in situation.workers if worker.id == job.worker), None)
    name = worker.name if worker else job.worker
    said = f"is running since {_clock(job.started_at or now, now)} on worker {_line(name or '?')}"
    if worker is None or not worker.alive:
        then = "another one takes the job over" if _at_work(situation) else "no other one is running to take it over"
        said = f"{said}, which is gone: {then}"
    return said


def _ended(job: JobRecord, now: int) -> str:
    at = _clock(job.finished_at or now, now)
    reason = job.reason or ""
    match job.state:
        case State.COMPLETED:
            return f"has completed at {at}"
        case State.CANCELLED:
            return _with(f"was cancelled at {at}", reason.removeprefix("cancelled").removeprefix(": "))
        case _:
            return _with(f"is dead since {at}", reason, _error(job))


def _error(job: JobRecord) -> str:
    """What the job's last error says beyond its reason."""
    if job.error is None:
        return ""
    error = failure.from_text(job.error)
    parts = (error.type, error.message) if not (job.reason or "").endswith(error.type) else (error.message,)
    return ": ".join(part for part in parts if part)


def _with(said: str, *more: str) -> str:
    return ": ".join([said, *(_line(part) for part in more if part)])


# --- words and times -------------------------------------------------------------------------------------------------


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _more(number: int) -> list[str]:
    return [f"and {number - NAMED:,} more"] if number > NAMED else []


def _line(text: str) -> str:
    """The first line of a text that others wrote."""
    return cut(text.partition("\n")[0], _ERROR_BYTES)


def _span(ms: int) -> str:
    # To the nearest minute: a job that was put off for 3 h a moment ago is due in 3 h, not in 2 h 59 min.
    return span(round(ms / 60_000) * 60) if ms >= 60_000 else span(ms / 1000)


def _clock(at: int, now: int) -> str:
    """The time of day, with the date unless it is today's. What is still to come is rounded up: a gate is not open at a
    time that is given here."""
    moment = datetime.fromtimestamp(-(-at // 1000) if at > now else at // 1000, UTC)
    today = moment.date() == datetime.fromtimestamp(now // 1000, UTC).date()
    return f"{moment:%H:%M:%S} UTC" if today else f"{moment:%Y-%m-%d %H:%M:%S} UTC"
