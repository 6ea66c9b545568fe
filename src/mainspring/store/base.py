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

from collections.abc import Collection, Generator
from dataclasses import dataclass, replace
from typing import Any, Protocol, cast

from mainspring.clock import now_ms
from mainspring.model.job import Claim
from mainspring.store.requests.alter import AlterReply, AlterRequest, PruneRequest, Verb
from mainspring.store.requests.beat import BeatReply, BeatRequest, Command, Presence, ReapRequest
from mainspring.store.requests.changes import (
    Change,
    CommandWorker,
    DefineQueue,
    DefineTask,
    LimitPartition,
    LimitQueue,
    LimitTask,
    PauseQueue,
    PauseSchedule,
    PutSchedule,
    RemoveSchedule,
    Sequence,
)
from mainspring.store.requests.claim import ClaimReply, ClaimRequest, Room
from mainspring.store.requests.configure import (
    ConfigureRequest,
    PartitionRecord,
    QueueRecord,
    Readable,
    ScheduleRecord,
    Settings,
    TaskRecord,
    WorkerRecord,
)
from mainspring.store.requests.count import CountReply, CountRequest, Sum, Tally, Window
from mainspring.store.requests.filter import Filter
from mainspring.store.requests.find import BRIEF_MESSAGE, Bookmark, FindRequest, FlowRecord, Page
from mainspring.store.requests.insert import Callback, Full, Inserted, InsertRequest, NewFlow, Tick
from mainspring.store.requests.portions import in_portions, portions
from mainspring.store.requests.request import Reply, Request
from mainspring.store.requests.settle import LOG_LINES_KEPT, NoteRequest, SettleRequest

__all__ = [
    "BRIEF_MESSAGE",
    "LOG_LINES_KEPT",
    "AlterReply",
    "AlterRequest",
    "AsyncBorrowed",
    "AsyncDriver",
    "AsyncWatch",
    "BeatReply",
    "BeatRequest",
    "Bookmark",
    "Borrowed",
    "Callback",
    "Change",
    "ClaimReply",
    "ClaimRequest",
    "Command",
    "CommandWorker",
    "ConfigureRequest",
    "CountReply",
    "CountRequest",
    "DefineQueue",
    "DefineTask",
    "Driver",
    "Filter",
    "FindRequest",
    "FlowRecord",
    "Full",
    "InsertRequest",
    "Inserted",
    "LimitPartition",
    "LimitQueue",
    "LimitTask",
    "NewFlow",
    "NoteRequest",
    "Operation",
    "Page",
    "PartitionRecord",
    "PauseQueue",
    "PauseSchedule",
    "Presence",
    "PruneRequest",
    "PutSchedule",
    "QueueRecord",
    "Readable",
    "ReapRequest",
    "RemoveSchedule",
    "Reply",
    "Request",
    "Room",
    "ScheduleRecord",
    "SchemaStatus",
    "Sequence",
    "Settings",
    "SettleRequest",
    "Store",
    "Sum",
    "Tally",
    "TaskRecord",
    "Tick",
    "Verb",
    "Watch",
    "Window",
    "WorkerRecord",
    "in_portions",
    "portions",
    "start",
    "timed",
]


Operation = Generator[Any, Any, Reply]
"""One store operation under way: yields what its driver performs, receives what came back, returns its reply."""


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


def timed(request: Request[Reply]) -> Request[Reply]:
    """The request with the time that it is, where the program's clock is stopped."""
    if now_ms.stopped_at is not None and request.now is None:
        request = replace(cast("Any", request), now=now_ms.stopped_at)
    return request


def start(store: Store, request: Request[Reply]) -> Operation[Reply]:
    """The operation that performs `request` on `store`, not yet begun."""
    operation: Operation[Reply] = getattr(store, request.operation)(timed(request))
    return operation
