"""The store protocol: the narrow waist between what Mainspring means and where it is kept.

A store has twelve operations. Eleven take one request document and end in one reply, atomically; each is a *sans-I/O
generator*: it yields whatever its own driver understands (an SQL statement, a script call), is sent what came back,
and returns the reply. So one body serves a blocking caller, an event loop, the heartbeat's thread and a user's own
open transaction. The twelfth, `watch`, is not a request but a listener, and belongs to the driver.

    insert      jobs → inserted or existing            claim       queues with room → claims, next due time
    settle      settlements → applied ids              beat        worker → alive?, cancelled jobs, command
    reap        limit → claims of dead workers' jobs   note        progress, checkpoint, log → still mine?
    alter       verb, selection → count                prune       retention → count
    find        filter → page of jobs                  count       filter, grouping → numbers
    configure   changes → queues, schedules, workers   watch       topics → hints

Rules that hold for every store:

- A set goes in and a set comes out; nothing loops over round trips.
- Every request may carry `now` (milliseconds since 1970 UTC); without it the store's own clock counts.
- A claimed job is written only by who names its `lease`: settle and note change nothing where the number differs or
  the job is not running, and say so by leaving the id out of their reply. That is the fence.
- Claims are served by priority, then `run_at`, then id: a job's place in the queue is when it became due. Partitions
  of a queue take turns; the order holds within each.
- Limits are kept by gates, which are looked at in the claim: a queue, a partition of it, a task. Nothing is counted
  that could drift: slots in use are the running jobs, and what a rate looks back on are the starts themselves.
- A child is released by the very request that ends its last parent, and a bad end passes down its edges in that request
  too: a store does so for 1,000 jobs at least, and for the rest with the next requests of any worker.
- Live and finished jobs are kept apart, so that the cost of the live ones never depends on the history.
- Text other than `args`, `result`, `error`, `history`, `options` and `checkpoint` (reasons, names, progress and log
  lines) reaches a store clean of NUL and lone surrogates; those six are JSON, where such characters are escapes.
- Priorities are -1000 to 1000, times 0 to 2**43: together they fit one exact sort key on every store.
- Every request has one effect, however often it is sent: inserts by id, settlements by lease, log lines by lease and
  number, ticks by the schedule's `next_at`, reports by source and number, the others by being absolute.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar, cast

from mainspring.clock import now_ms
from mainspring.model.audit import AuditEntry
from mainspring.model.job import Claim, JobRecord, Key, NewJob, Note, Policy
from mainspring.model.limits import KEEP, NO_LIMITS, Keep, Limits, Rate
from mainspring.model.settlement import Settlement
from mainspring.model.states import LIVE, State
from mainspring.model.stats import Numbers, Report

Reply = TypeVar("Reply")
Item = TypeVar("Item")

Operation = Generator[Any, Any, Reply]
"""One store operation under way: yields what its driver performs, receives what came back, returns its reply."""


class Request(Generic[Reply]):
    """What an operation takes. The type parameter is what it gives; `operation` names the store's method."""

    __slots__ = ()
    operation: ClassVar[str]
    now: int | None


# --- insert ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Callback:
    """A job that waits for all others of a flow, also for those that come later, as long as it is blocked.

    It belongs to the flow, or to none: then it is not counted with it, and stays when that is cancelled.
    """

    job: str
    policy: Policy


@dataclass(frozen=True, slots=True)
class NewFlow:
    """A flow: jobs that belong together. One of that id that is there already stays as it is."""

    id: str
    name: str
    parent: str | None = None
    """The flow that it is a part of: its jobs are waited for by that one's callbacks too."""
    callbacks: tuple[Callback, ...] = ()


@dataclass(frozen=True, slots=True)
class Full:
    """Why a job was turned away: its queue, or its partition, holds as many waiting jobs as it may."""

    queue: str
    partition: str | None
    """None: it is the queue as a whole that is full."""
    limit: int


@dataclass(frozen=True, slots=True)
class Tick:
    """A schedule's turn: its jobs are inserted, and `next_at` moved, only if it still stands at `expected_at` and is
    not paused."""

    schedule: str
    expected_at: int
    """The slot that the caller saw as due."""
    next_at: int
    """The slot after those served now."""
    jobs: tuple[NewJob, ...] = ()
    """None where missed slots are skipped."""


@dataclass(frozen=True, slots=True)
class Inserted:
    """What became of one new job."""

    id: str
    existed: bool
    """True: the job was not stored. One of that id is there already, live or finished; or `id` is that of the job that
    holds one of its keys."""
    rejected: str | None = None
    """The key because of which the job was turned away (`Conflict.REJECT`)."""
    full: Full | None = None
    """The limit because of which it was turned away; then `existed` is false."""

    @property
    def stored(self) -> bool:
        """Whether it is there now, and was not before."""
        return not self.existed and self.rejected is None and self.full is None


@dataclass(frozen=True, slots=True)
class InsertRequest(Request[tuple[Inserted, ...]]):
    """Jobs appear together or not at all. The reply is in the order of the jobs, ticks' jobs last (won ticks only).

    Jobs take their keys one after the other, as if each were inserted alone. A key is free if no job holds it, if its
    time is over, or if it is held until a job starts or settles that has done so, or is gone. Where `all_or_none`, one
    rejected job raises `DuplicateJob`, one for which there is no room raises `QueueFull`, and nothing is stored.

    A queue or partition with `max_queued` takes a job only while fewer are waiting in it (scheduled or queued); that
    goes for `jobs`, not for ticks. One that takes a waiting job's place (`Conflict.REPLACE`) wants room only where that
    job is not yet.

    A job with parents is blocked until they have ended, as their edges say; parents that have ended already count at
    once. A job of a flow becomes a parent of the flow's callbacks, and of those of the flows that it is a part of, as
    far as they are blocked still, or went down with another job and may come back with it. Raises `UnknownParent` for a
    parent that is neither in the request nor in the store, and `InvalidFlow` for a job that would wait, by way of jobs
    in the store, for a callback that waits for it; nothing is stored then. A job that is there already gets no new
    edges, whatever became of its parents; where a key gave another job in place of a parent, that one is waited for.
    """

    operation: ClassVar[str] = "insert"
    jobs: tuple[NewJob, ...] = ()
    ticks: tuple[Tick, ...] = ()
    all_or_none: bool = False
    flows: tuple[NewFlow, ...] = ()
    now: int | None = None
    fresh: bool = False
    """The ids were made for this request, which is sent for the first time: no job has one of them, or had one, and a
    store need not look. Whoever sends it again takes that back; and it is not said on somebody's own connection, whose
    transaction could not be used any more if it were wrong."""


# --- claim, settle, note ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Room:
    """At most `limit` jobs from `queue`."""

    queue: str
    limit: int


@dataclass(frozen=True, slots=True)
class ClaimReply:
    """What a worker got."""

    claims: tuple[Claim, ...]
    now: int
    """The store's clock when it answered."""
    next_due: int | None
    """When it is worth asking again: when the earliest scheduled job of the named queues is due, or a gate opens that
    time alone keeps closed and that jobs wait at. None: there is neither. Exact when fewer claims than asked for came
    back; otherwise the caller comes back at once anyway."""
    alive: bool
    """False: the store does not know this worker, or its lease ran out. Nothing was claimed; register anew."""


@dataclass(frozen=True, slots=True)
class ClaimRequest(Request[ClaimReply]):
    """Due jobs are promoted, then `rooms` served in order, up to `limit` in all; a queue may be named twice.

    At most 1,000 due jobs of each named queue are promoted, the longest overdue first, those of paused and full queues
    too; so no claim takes long, and `next_due` lies in the past only while there are more of them.
    Paused queues and partitions give nothing. A queue, a partition, or a task with a concurrency limit gives no more
    than is left of it, counted from the running jobs of all workers; one with rates no more than these allow, by the
    jobs' cost, in any stretch of time. A job whose own gates are closed does not hold up those of other partitions and
    tasks; within its partition and task the next one waits behind it, however cheap. One whose turn it is, and that is
    too dear for what is left of the queue's own rate, keeps its turn: nothing else of that queue goes before it.

    A queue with jobs in partitions serves them by turns: always the one with the smallest virtual time, which then
    moves on by cost / weight; who comes (back) begins at the queue's present virtual time, or at its own if that is
    later. In a queue with `sequence` each partition runs one job at a time, and the next only when that one has ended
    for good (retries included); "block" waits for a dead one too, until it is revived or deleted.
    """

    operation: ClassVar[str] = "claim"
    worker: str
    rooms: tuple[Room, ...]
    limit: int
    held: frozenset[str] | None = None
    """Where a reply may have been lost: the jobs that the worker knows to be its own. What else runs in its name is
    given to it once more, as it stands and before anything new, however much that is; also where `limit` is 0."""
    now: int | None = None


@dataclass(frozen=True, slots=True)
class SettleRequest(Request[frozenset[str]]):
    """Applies each settlement whose lease holds, and gives their ids; notes of the same jobs are written first.

    No job is named twice in `settlements`, nor in `notes`, and `notes` are about jobs that are settled here. Of the
    follow-ups, a parent that is not there counts as one that was deleted: a settle does not fail for them.

    A job that goes back QUEUED keeps its `run_at`, and so its place in the queue.

    A job that goes back (QUEUED, SCHEDULED) while somebody asks to cancel it is due at once, whatever its delay: the
    request stays with it, and the next claim brings it to a worker that ends it. Until then, and when it is CANCELLED,
    `reason` stays that of the request.

    A job's checkpoint stays, whatever becomes of it, until it is COMPLETED.
    """

    operation: ClassVar[str] = "settle"
    settlements: tuple[Settlement, ...]
    notes: tuple[Note, ...] = ()
    now: int | None = None


LOG_LINES_KEPT = 1000
"""How many log lines a job keeps: the newest."""


@dataclass(frozen=True, slots=True)
class NoteRequest(Request[frozenset[str]]):
    """Writes each note whose lease holds, and gives their ids. No job is named twice.

    A log line is known by its job, its lease and its number: one that is there is not written again. They stand in the
    order of leases, and of numbers within each; a job keeps its last `LOG_LINES_KEPT` lines. Numbers are given without
    gaps: missing, once a note is written, are at most lines that would not be kept any more.

    The same goes for the pieces of a run's output, by numbers of their own. Once a piece is written, those before the
    note's `kept_from` are gone, and with them the output of all leases before.

    A checkpoint takes the place of the one before, and comes with every claim of the job from then on; a job that takes
    a waiting one's place (`Conflict.REPLACE`) begins without.
    """

    operation: ClassVar[str] = "note"
    notes: tuple[Note, ...]
    now: int | None = None


# --- beat, reap ------------------------------------------------------------------------------------------------------


class Command(StrEnum):
    """What an operator asks of a worker."""

    QUIET = "quiet"
    """Claim no more; go on with what is running."""
    STOP = "stop"
    """Stop gracefully."""


@dataclass(frozen=True, slots=True)
class Presence:
    """A worker as it describes itself with every beat."""

    id: str
    name: str
    """For people: host and process id."""
    queues: tuple[str, ...]
    tasks: tuple[str, ...]
    concurrency: int
    running: int
    lease_ms: int
    """How long from this beat the store counts it as alive."""
    quiet: bool = False
    memory: int | None = None
    """How many bytes of memory it has, with the processes in which its jobs run. None: that is not known."""


@dataclass(frozen=True, slots=True)
class BeatReply:
    """What the store has to say to a worker."""

    alive: bool
    """False: the store gave this worker up. Whatever it runs belongs to others; it must register anew, by a new id."""
    now: int
    cancelled: tuple[tuple[str, int], ...] = ()
    """Ids and leases of its running jobs that somebody asked to cancel."""
    command: Command | None = None


@dataclass(frozen=True, slots=True)
class BeatRequest(Request[BeatReply]):
    """`join` registers the worker, `stay` renews its lease if it still has one, `look` only reads, `leave` takes it off
    the list.

    `stats` is what it has counted, whether it is alive or not; not with `look`. A report that the store has already, by
    its source and number, is not counted again.
    """

    operation: ClassVar[str] = "beat"
    presence: Presence
    phase: Literal["join", "stay", "look", "leave"] = "stay"
    stats: tuple[Report, ...] = ()
    """In the order of their numbers."""
    now: int | None = None


@dataclass(frozen=True, slots=True)
class ReapRequest(Request[tuple[Claim, ...]]):
    """Running jobs whose worker is gone are leased anew to the caller, who decides what becomes of them.

    Nothing else changes: attempt, start and (in the reply) the dead worker's id are as they were. The caller must be
    alive itself, else it gets nothing. Workers that are past their lease and own no more jobs are taken off the list.
    """

    operation: ClassVar[str] = "reap"
    worker: str
    limit: int
    now: int | None = None


# --- alter, prune ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Filter:
    """Which jobs: all conditions must hold, an empty one holds for every job.

    `since` and `until` bound the time at which the job entered the store's present view of it: `finished_at` for final
    jobs, `created_at` for live ones (both bounds inclusive).
    """

    ids: tuple[str, ...] = ()
    states: tuple[State, ...] = ()
    queue: str | None = None
    task: str | None = None
    since: int | None = None
    until: int | None = None
    partition: str | None = None
    flow: str | None = None
    """Jobs of that flow and of the flows that are a part of it."""
    text: str | None = None
    """Jobs with that in the text of their arguments (JSON, as it is stored), of which the first `TEXT_SEARCHED`
    characters are looked at, or bytes; capital letters of ASCII are taken for small ones."""
    tag: str | None = None
    """Jobs with that among the tags in their options."""

    @property
    def reads_rows(self) -> bool:
        """Whether the jobs themselves have to be looked at, and no index says whether they fit."""
        return self.text is not None or self.tag is not None


class Verb(StrEnum):
    """What can be done to selected jobs."""

    CANCEL = "cancel"
    """Waiting jobs become cancelled; running ones are asked to (`cancel_requested`); final ones stay. Jobs that go
    down with a cancelled parent are not counted."""
    REVIVE = "revive"
    """Final jobs become queued again: attempt, crashes and postponed 0, result, error, reason, progress gone, history,
    lease and checkpoint kept. Scheduled ones become due now. Others stay. What was cancelled because the job had ended
    badly is revived too, all the way down, and is blocked again, once none of its parents stands in the way any more;
    such jobs are not counted. Children that are blocked still wait for it anew. A job that is itself revived alone,
    while its parent is as it was, no longer waits for anything; in one batch with its parent it waits for that one."""
    RESCHEDULE = "reschedule"
    """Waiting jobs (scheduled, queued) get `value` as their run_at, and the state that follows from it."""
    REPRIORITISE = "reprioritise"
    """Waiting jobs (blocked, scheduled, queued) get `value` as their priority."""
    DELETE = "delete"
    """Jobs that are not running are gone, with their logs. Running ones stay. For the children of one that had not
    ended that is a bad end."""

    @property
    def changes(self) -> tuple[State, ...]:
        """To jobs in which states it does something."""
        return _CHANGES[self]


_CHANGES = {
    Verb.CANCEL: tuple(state for state in State if state in LIVE),
    Verb.REVIVE: (State.DEAD, State.CANCELLED, State.COMPLETED, State.SCHEDULED),
    Verb.RESCHEDULE: (State.QUEUED, State.SCHEDULED),
    Verb.REPRIORITISE: (State.BLOCKED, State.QUEUED, State.SCHEDULED),
    Verb.DELETE: tuple(state for state in State if state is not State.RUNNING),
}


@dataclass(frozen=True, slots=True)
class AlterReply:
    """How far one bounded batch of an alteration came."""

    count: int
    """Jobs changed."""
    cursor: str | None
    """Where the next batch goes on; None: done."""


@dataclass(frozen=True, slots=True)
class AlterRequest(Request[AlterReply]):
    """Does `verb` to selected jobs, looking at no more than `limit` or so; the caller repeats with the reply's cursor
    until it is None. Walks as `find` does, so that what it changes is not met again."""

    operation: ClassVar[str] = "alter"
    verb: Verb
    filter: Filter
    value: int | None = None
    reason: str | None = None
    """CANCEL: stored with the job."""
    limit: int = 1000
    cursor: str | None = None
    now: int | None = None


@dataclass(frozen=True, slots=True)
class PruneRequest(Request[int]):
    """Deletes at most `limit` final jobs that ended longer ago than their state's retention; gives their number. Keys
    whose time is over go too, and flows and partitions of which nothing is left; and at most `limit` entries of the
    audit log that are older than `keep_audit_ms`.

    A store may keep completed jobs by the day (UTC): then they go with their day, up to a day later and all at once,
    whatever the limit.

    Where `stats`, no jobs: instead statistics are rolled up (`stats.ROLLS`), and those older than `stats.KEEP_MS`
    deleted, about `limit` at most; gives how many were looked at.
    """

    operation: ClassVar[str] = "prune"
    keep_ms: Mapping[State, int]
    limit: int = 1000
    stats: bool = False
    keep_audit_ms: int | None = None
    """None: all of it."""
    now: int | None = None


# --- find, count -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FlowRecord:
    """A flow as the store has it."""

    id: str
    name: str
    parent: str | None
    created_at: int
    callbacks: tuple[Callback, ...]
    counts: tuple[tuple[State, int], ...]
    """How many of its jobs, and of its parts' jobs, are in each state; states with none are left out."""


@dataclass(frozen=True, slots=True)
class Bookmark:
    """Up to where somebody has read what a job says: the places of the last line of its log and the last piece of its
    output that he knows. -1: none."""

    job: str
    line: int = -1
    piece: int = -1


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the jobs that were asked for."""

    jobs: tuple[JobRecord, ...]
    cursor: str | None
    """Where the next page goes on; None: there is no more. A page may be short, even empty, and still have a cursor:
    a store reads only so many jobs for one page, however few of them fit."""
    flows: tuple[FlowRecord, ...] = ()
    """Instead of jobs, where flows were asked for."""
    stamps: tuple[tuple[str, str], ...] = ()
    """Instead of jobs, where stamps were asked for: ids, each with its stamp."""


BRIEF_MESSAGE = 500


@dataclass(frozen=True, slots=True)
class FindRequest(Request[Page]):
    """Jobs that fit, newest first: live ones by creation, then final ones by their end (ids break ties)."""

    operation: ClassVar[str] = "find"
    filter: Filter
    limit: int = 50
    cursor: str | None = None
    with_log: bool = False
    """With their log lines, and their output."""
    bookmarks: tuple[Bookmark, ...] = ()
    """Of these jobs only what is beyond; of all others everything. Only with the log."""
    with_parents: bool = False
    brief: bool = False
    """Without arguments, result, history, options and checkpoint; of the error only its type and the first
    `BRIEF_MESSAGE` characters of its message."""
    flows: bool = False
    """The flows themselves, newest first, instead of jobs; of `filter` only `flow` counts, and means that one alone."""
    stamps: bool = False
    """Instead of jobs, a stamp of each that is there, all on one page: a text that differs whenever anything about the
    job does that people follow (state, lease, times, progress, log, output). Of `filter` only `ids` counts."""
    now: int | None = None


@dataclass(frozen=True, slots=True)
class Tally:
    """How many jobs of one queue are in one state, and since when the longest-waiting has been due."""

    queue: str
    state: State
    count: int
    oldest_at: int | None = None
    """QUEUED only, and only where the filter is by queue and state: the smallest `run_at`."""
    more: bool = False
    """There may be more of them."""


@dataclass(frozen=True, slots=True)
class Window:
    """Which statistics: of the last stretches of `step_ms` that make up `span_ms`, the present one included."""

    span_ms: int
    step_ms: int
    by: Literal["queue", "task"] | None = None
    """One sum for each queue, or task, over all of it. None: one for each stretch."""


@dataclass(frozen=True, slots=True)
class Sum:
    """What was counted in one stretch of time, or about one queue or task."""

    at: int
    """When the stretch begins; where it is about a queue or task, the first of all."""
    name: str
    """The queue or task; else ""."""
    numbers: Numbers


@dataclass(frozen=True, slots=True)
class CountReply:
    """Numbers by queue and state; combinations with no job are left out."""

    tallies: tuple[Tally, ...]
    now: int
    stats: tuple[Sum, ...] = ()
    """By time, or by name. Stretches, queues and tasks of which nothing was counted are left out."""
    cursor: str | None = None
    """Where the next request goes on; None: all were looked at."""
    cut: frozenset[State] = frozenset()
    """States of which not all jobs were looked at: of any queue there may be more."""


@dataclass(frozen=True, slots=True)
class CountRequest(Request[CountReply]):
    """How many jobs fit, by queue and state: exactly, once the caller has repeated it with the reply's cursor until
    that is None, and added up. By states and queue alone there is one reply; what has to be read, job by job, may come
    in bounded pieces.

    With `most` it looks at no more jobs than about that. With `each`, for filters by states and queue alone, it counts
    no queue and state further than about that, and says where there may be more; there is no cursor then.

    Where `stats`, no jobs are counted: it is what was counted as it happened. Of `filter` only `queue` and `task` count
    then; "" is as good a name as any there, that of cells which belong to no queue, or no task. What is enqueued is
    there at once, and so is what is cancelled without a worker; what workers do comes with their beats.

    Where `ahead_of`, it is how many queued jobs of that job's partition are served before it, no further than about
    `each`; nothing where it is not queued itself. Of `filter` nothing counts then.
    """

    operation: ClassVar[str] = "count"
    filter: Filter
    stats: Window | None = None
    most: int | None = None
    each: int | None = None
    cursor: str | None = None
    ahead_of: str | None = None
    now: int | None = None


# --- configure -------------------------------------------------------------------------------------------------------


Sequence = Literal["block", "skip"]
"""What a job of a sequence that is dead does to those behind it."""


@dataclass(frozen=True, slots=True)
class DefineQueue:
    """What the code says about a queue; what an operator says outlives it, setting by setting."""

    name: str
    concurrency: int | None = None
    rates: tuple[Rate, ...] = ()
    max_queued: int | None = None
    each: Limits = NO_LIMITS
    """What holds for every partition that has no word of its own."""
    partitions: tuple[tuple[str, Limits], ...] = ()
    """What holds for single ones, setting by setting."""
    sequence: Sequence | None = None


@dataclass(frozen=True, slots=True)
class DefineTask:
    """What the code says about a task's gate; what an operator says outlives it, setting by setting."""

    name: str
    concurrency: int | None = None
    rates: tuple[Rate, ...] = ()


@dataclass(frozen=True, slots=True)
class LimitQueue:
    """What an operator says about a queue's limits. None, (): no limit."""

    name: str
    concurrency: int | Keep | None = KEEP
    rates: tuple[Rate, ...] | Keep = KEEP
    max_queued: int | Keep | None = KEEP


@dataclass(frozen=True, slots=True)
class LimitPartition:
    """What an operator says about one partition, or (None) about every one that has no word of its own."""

    queue: str
    partition: str | None
    concurrency: int | Keep | None = KEEP
    rates: tuple[Rate, ...] | Keep = KEEP
    max_queued: int | Keep | None = KEEP
    weight: float | Keep = KEEP


@dataclass(frozen=True, slots=True)
class LimitTask:
    """What an operator says about a task's gate."""

    name: str
    concurrency: int | Keep | None = KEEP
    rates: tuple[Rate, ...] | Keep = KEEP


@dataclass(frozen=True, slots=True)
class PauseQueue:
    """Stop or go on claiming from a queue, or from one partition of it."""

    name: str
    paused: bool
    partition: str | None = None


@dataclass(frozen=True, slots=True)
class PutSchedule:
    """Create a schedule or change what it does.

    Where one of that name exists, whether it is paused stays; its `next_at` stays too unless `timing` changed.
    """

    name: str
    task: str
    timing: str
    """JSON object text: what `schedule.parse_timing` reads."""
    next_at: int
    queue: str = "default"
    args: str = "{}"
    priority: int = 5
    options: str | None = None
    keys: tuple[Key, ...] = ()
    """Which keys each of its jobs takes."""
    partition: str = ""
    cost: int = 1


@dataclass(frozen=True, slots=True)
class PauseSchedule:
    """Stop or go on ticking. A resumed schedule goes on at `next_at`: what it slept through is not a missed tick."""

    name: str
    paused: bool
    next_at: int | None = None
    """On resume: its next slot."""


@dataclass(frozen=True, slots=True)
class RemoveSchedule:
    """Forget a schedule; the jobs that it made stay."""

    name: str


@dataclass(frozen=True, slots=True)
class CommandWorker:
    """Leave a command for a worker, which reads it with its next beat."""

    id: str
    command: Command


Change = (
    DefineQueue
    | DefineTask
    | LimitQueue
    | LimitPartition
    | LimitTask
    | PauseQueue
    | PutSchedule
    | PauseSchedule
    | RemoveSchedule
    | CommandWorker
)


@dataclass(frozen=True, slots=True)
class QueueRecord:
    """A queue's settings, as they are in force: the operator's word where there is one, else the code's."""

    name: str
    paused_at: int | None = None
    concurrency: int | None = None
    rates: tuple[Rate, ...] = ()
    max_queued: int | None = None
    each: Limits = NO_LIMITS
    """What holds for every partition that has no word of its own."""
    sequence: Sequence | None = None
    opens_at: int | None = None
    """When time lets the next job of cost 1 through; None: at once."""


@dataclass(frozen=True, slots=True)
class PartitionRecord:
    """A partition's settings, as they are in force."""

    queue: str
    name: str
    paused_at: int | None = None
    limits: Limits = NO_LIMITS
    opens_at: int | None = None
    holder: str | None = None
    """In a sequence: the job that has started and not ended for good."""


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """A task's gate, as it is in force."""

    name: str
    concurrency: int | None = None
    rates: tuple[Rate, ...] = ()
    opens_at: int | None = None


@dataclass(frozen=True, slots=True)
class ScheduleRecord:
    """A schedule as the store has it."""

    name: str
    task: str
    queue: str
    args: str
    priority: int
    options: str | None
    timing: str
    next_at: int
    last_at: int | None
    """The slot that was served last."""
    paused_at: int | None
    keys: tuple[Key, ...] = ()
    partition: str = ""
    cost: int = 1


@dataclass(frozen=True, slots=True)
class WorkerRecord:
    """A worker as the store has it."""

    id: str
    name: str
    queues: tuple[str, ...]
    tasks: tuple[str, ...]
    concurrency: int
    running: int
    quiet: bool
    started_at: int
    beat_at: int
    expires_at: int
    command: Command | None
    memory: int | None = None
    """As its last beat said; None: it said nothing of that, as those of older versions do not."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The part of the settings that was asked for, after the changes."""

    now: int
    changed: int = 0
    """How many of the changes found what they name (a pause of an unknown schedule does not)."""
    queues: tuple[QueueRecord, ...] = ()
    schedules: tuple[ScheduleRecord, ...] = ()
    workers: tuple[WorkerRecord, ...] = ()
    next_tick: int | None = None
    """The smallest `next_at` of all schedules that are not paused."""
    tasks: tuple[TaskRecord, ...] = ()
    """Those that have, or had, a gate."""
    partitions: tuple[PartitionRecord, ...] = ()
    audit: tuple[AuditEntry, ...] = ()


Readable = Literal["queues", "schedules", "due", "workers", "tasks", "partitions", "audit"]


@dataclass(frozen=True, slots=True)
class ConfigureRequest(Request[Settings]):
    """Applies `changes` together, then reads what `read` names.

    "due": the schedules that are not paused and whose `next_at` has come, at most `limit`, earliest first.
    "partitions": those with settings of their own (limits, a pause), at most `limit`, by queue and name; and the one
    that `partition` names, by queue and name, whatever it has.
    "audit": the entries of the audit log, newest first, at most `limit`, those before the place `before` (time and id).

    `audit` is what somebody does thereby: it is written with the changes, and its count is how many of them found what
    they name. Without changes it is written as it is. Of one that is there already the time stays as it is, and the
    count only rises: what goes on for long says again and again how far it has come.
    """

    operation: ClassVar[str] = "configure"
    changes: tuple[Change, ...] = ()
    read: frozenset[Readable] = field(default_factory=frozenset)
    limit: int = 1000
    partition: tuple[str, str] | None = None
    audit: AuditEntry | None = None
    before: tuple[int, str] | None = None
    now: int | None = None


# --- the protocols ---------------------------------------------------------------------------------------------------


class Watch(Protocol):
    """A listener for hints, counted from when it was opened: a hint between two waits is not missed."""

    def wait(self, seconds: float) -> bool:
        """Wait for the next hint; False when none came in time."""

    def close(self) -> None:
        """Stop listening."""


class AsyncWatch(Protocol):
    """A `Watch` for an event loop."""

    async def wait(self, seconds: float) -> bool:
        """Wait for the next hint; False when none came in time."""

    async def add(self, topics: Collection[str]) -> None:
        """Listen for hints about these too, from here on."""

    async def drop(self, topics: Collection[str]) -> None:
        """Listen for hints about these no more."""

    def heard(self) -> frozenset[str] | None:
        """Which topics the hints were about that have come since this was asked last. None: it may be any."""

    async def aclose(self) -> None:
        """Stop listening."""


class Driver(Protocol):
    """Performs requests for blocking callers. Safe to use from several threads, and after a fork.

    Takes the request and not the operation, so that it can begin the operation again where the store asks for that.
    """

    def run(self, request: Request[Reply]) -> Reply:
        """Perform one request, atomically, within the store's deadline."""

    def watch(self, topics: tuple[str, ...]) -> Watch:
        """Listen for hints about `queue:NAME` (a job was queued or scheduled there, it or a partition resumed, a
        limit of it or of a task rose, or a slot came free) and `job:ID` (anything about it changed).

        Hints may merge, may miss, may be false alarms.
        """

    def close(self) -> None:
        """Let go of all connections."""


class AsyncDriver(Protocol):
    """Performs requests on an event loop."""

    async def run(self, request: Request[Reply]) -> Reply:
        """Perform one request, atomically, within the store's deadline."""

    async def watch(self, topics: tuple[str, ...]) -> AsyncWatch:
        """Listen for hints, as `Driver.watch`."""

    async def aclose(self) -> None:
        """Let go of all connections."""


class Borrowed(Protocol):
    """Performs requests on a connection that somebody else has opened, as a part of the transaction that is open there:
    what it writes is there when that commits, and never was when it rolls back."""

    def run(self, request: Request[Reply]) -> Reply:
        """Perform one request, all of it or nothing, once. Where it raises an error of ours, the transaction can still
        be used, unless that error is a `StoreError`. Raises `UnusableTransaction`."""


class AsyncBorrowed(Protocol):
    """A `Borrowed` for an event loop."""

    async def run(self, request: Request[Reply]) -> Reply:
        """As `Borrowed.run`."""


class Store(Protocol):
    """One place where jobs are kept. Holds no connection itself; its drivers do."""

    url: str
    """Where it is, without any password."""
    insert_limit: int
    """Into requests of so many portions a caller cuts up what need not be atomic as a whole."""

    def insert(self, request: InsertRequest) -> Operation[tuple[Inserted, ...]]: ...
    def claim(self, request: ClaimRequest) -> Operation[ClaimReply]: ...
    def settle(self, request: SettleRequest) -> Operation[frozenset[str]]: ...
    def beat(self, request: BeatRequest) -> Operation[BeatReply]: ...
    def reap(self, request: ReapRequest) -> Operation[tuple[Claim, ...]]: ...
    def note(self, request: NoteRequest) -> Operation[frozenset[str]]: ...
    def alter(self, request: AlterRequest) -> Operation[AlterReply]: ...
    def prune(self, request: PruneRequest) -> Operation[int]: ...
    def find(self, request: FindRequest) -> Operation[Page]: ...
    def count(self, request: CountRequest) -> Operation[CountReply]: ...
    def configure(self, request: ConfigureRequest) -> Operation[Settings]: ...

    def driver(self, patience: float | None = None) -> Driver:
        """A new blocking driver; `patience` is after how many seconds it takes a server's silence for an answer, where
        that is to be sooner than the store's deadline."""

    def async_driver(self) -> AsyncDriver:
        """A new driver for the running event loop."""

    def borrow(self, connection: object) -> Borrowed:
        """Work on somebody's own connection, for blocking callers. Raises `UnusableTransaction`, also where the store
        is of a kind that has no such connections."""

    def async_borrow(self, connection: object) -> AsyncBorrowed:
        """The same on an event loop."""

    def schema(self) -> SchemaStatus:
        """Which schema version the store has. Blocking; changes nothing."""

    def migrate(self) -> SchemaStatus:
        """Bring the schema up to date and say what it was. Blocking."""

    def script(self, found: int | None = None, grant_to: str | None = None) -> str:
        """What `migrate` would do from version `found` on (None: the present one, for which the store is asked), as a
        script for whoever may change the database, and what a role needs that may only use it. Raises
        `ConfigurationError` for a store that has no such thing."""


@dataclass(frozen=True, slots=True)
class SchemaStatus:
    """A store's schema version and the one that this program wants. 0: no schema yet."""

    found: int
    wanted: int
    location: str = ""
    """What `doctor` shows beside it: the file or the server, and its version."""
    warnings: tuple[str, ...] = ()
    """What is not as it should be about the server, or about the way there."""
    automatic: bool = False
    """Whether the first request brings it up to date by itself."""


_PORTION = 32 * 1024


def portions(*texts: str | None) -> int:
    """How much of a request a job takes up that carries these texts: 1 for a small one, more for a large one.

    Requests are kept to so many portions rather than jobs, so that none becomes a document of gigabytes.
    """
    return 1 + sum(map(len, filter(None, texts))) // _PORTION


def in_portions(items: Iterable[Item], limit: int, size: Callable[[Item], int]) -> Iterator[tuple[Item, ...]]:
    """The items in groups that take up `limit` portions at most; one that alone is larger is a group by itself."""
    group: list[Item] = []
    room = limit
    for item in items:
        needed = size(item)
        if group and needed > room:
            yield tuple(group)
            group, room = [], limit
        group.append(item)
        room -= needed
    if group:
        yield tuple(group)


def timed(request: Request[Reply]) -> Request[Reply]:
    """The request with the time that it is, where the program's clock is stopped."""
    if now_ms.stopped_at is not None and request.now is None:
        request = replace(cast("Any", request), now=now_ms.stopped_at)
    return request


def start(store: Store, request: Request[Reply]) -> Operation[Reply]:
    """The operation that performs `request` on `store`, not yet begun."""
    operation: Operation[Reply] = getattr(store, request.operation)(timed(request))
    return operation
