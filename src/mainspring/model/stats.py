"""Statistics: what became of the jobs of one task in one queue in one minute, as numbers that add up.

Everything that is kept is a number under a name: how often something happened, and how many waits and runs took about
how long. So what two workers, two queues or sixty minutes have come to together is their sum, name by name, and a
percentile over any time is as right as one over a minute.

    enqueued started completed failed retried dead cancelled crashed limited
    wait, run            milliseconds in all
    wait:N, run:N        how many took as long as bucket N says

How many jobs are due, and how long the oldest has been, is no event. It is looked at once a minute, and what is seen is
a number that adds up too: how often one has looked, and what all looks together have seen. It is kept apart from what
happens, in cells without a task: what was seen of all queues in one without a queue, what was seen of a queue in which
jobs were due in one of its own, under other names. So no sum over queues counts a job twice, and a queue that was empty
whenever one looked needs no cell: the looks at it are those at all.

    samples, took        how often one has looked, and milliseconds that it took in all
    depth                jobs that were due, summed over the looks
    oldest, oldest:N     for how long the longest-waiting one had been, as a histogram over the looks that found any
    queue_depth, queue_oldest, queue_oldest:N        the same of one queue
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from mainspring.errors import InvalidOption
from mainspring.model.durations import format_ms

__all__ = [
    "BUCKETS",
    "EVENTS",
    "HOUR_MS",
    "KEEP_MS",
    "MINUTE_MS",
    "ROLLS",
    "Cell",
    "Depth",
    "Histogram",
    "Numbers",
    "Point",
    "Report",
    "Roll",
    "Series",
    "bucket",
    "gathered",
    "point",
    "sampled",
    "starts",
    "step_of",
]

Numbers = Mapping[str, int]
"""What was counted, by name. A name that is missing stands for 0."""

EVENTS = ("enqueued", "started", "completed", "failed", "retried", "dead", "cancelled", "crashed", "limited")

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
DAY_MS = 24 * HOUR_MS


# --- how long: buckets -----------------------------------------------------------------------------------------------

BUCKETS = 116
"""Each millisecond up to 7, then four to every doubling: none is wider than a quarter of where it begins. In the last
one is all from 7 × 2**27 ms on, which are about eleven days."""


def bucket(ms: int) -> int:
    """Which bucket that time is in.

    >>> [bucket(ms) for ms in (0, 7, 8, 9, 10, 1000, 60_000)]
    [0, 7, 8, 8, 9, 35, 59]
    """
    if ms < 8:
        return max(ms, 0)
    doublings = ms.bit_length() - 3
    return min((doublings << 2) + (ms >> doublings), BUCKETS - 1)


def beginning(number: int) -> int:
    """The least time, in milliseconds, that is in the bucket of that number.

    >>> [beginning(number) for number in (0, 7, 8, 9, 35)]
    [0, 7, 8, 10, 896]
    """
    if number < 8:
        return number
    doublings, quarter = divmod(number - 4, 4)
    return (quarter + 4) << doublings


@dataclass(frozen=True, slots=True)
class Histogram:
    """How long waits, or runs, took. Two of them add up: `one + other` is as if one had seen what both saw."""

    counts: tuple[tuple[int, int], ...] = ()
    """Number of each bucket that is not empty, and how many are in it; in order."""
    total_ms: int = 0

    @classmethod
    def of(cls, times: Iterable[int]) -> Histogram:
        """Of times in milliseconds."""
        counts: dict[int, int] = {}
        total = 0
        for ms in times:
            counts[bucket(ms)] = counts.get(bucket(ms), 0) + 1
            total += max(ms, 0)
        return cls(tuple(sorted(counts.items())), total)

    @property
    def count(self) -> int:
        """How many it has seen."""
        return sum(count for _, count in self.counts)

    @property
    def mean(self) -> float | None:
        """Their mean, in seconds, exactly. None: it has seen none."""
        count = self.count
        return self.total_ms / 1000 / count if count else None

    def percentile(self, fraction: float) -> float | None:
        """How many seconds that part of them took at most (0.95: the slowest twentieth took longer), within a quarter
        and a millisecond. None: it has seen none.

        >>> Histogram.of([1000] * 99 + [60_000]).percentile(0.5)
        0.9606464646464646
        """
        left = fraction * self.count
        for number, count in self.counts:
            if left <= count:
                low = beginning(number)
                width = beginning(number + 1) - low if number < BUCKETS - 1 else 0
                return (low + width * max(left, 0) / count) / 1000
            left -= count
        return None

    def __add__(self, other: Histogram) -> Histogram:
        counts = dict(self.counts)
        for number, count in other.counts:
            counts[number] = counts.get(number, 0) + count
        return Histogram(tuple(sorted(counts.items())), self.total_ms + other.total_ms)


# --- points, as people see them --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Point:
    """What happened in one stretch of time."""

    at: datetime
    """When it begins."""
    enqueued: int = 0
    started: int = 0
    """Runs that began."""
    completed: int = 0
    failed: int = 0
    """Runs that raised: those that are tried again, and those because of which a job is dead."""
    retried: int = 0
    """Of the failed ones, those that are tried again."""
    dead: int = 0
    cancelled: int = 0
    crashed: int = 0
    """Runs whose worker, or process, died."""
    limited: int = 0
    """Runs that were told "too many requests"."""
    wait: Histogram = field(default_factory=Histogram)
    """From when a job was due until it was claimed, for each run that began."""
    run: Histogram = field(default_factory=Histogram)
    """From the claim to the end, for each run that completed or failed."""
    samples: int = 0
    """How often it was looked how many jobs are due."""
    due: int = 0
    """How many were due, summed over the looks."""
    oldest: Histogram = field(default_factory=Histogram)
    """For how long the longest-waiting one had been due, for each look that found any."""

    @property
    def depth(self) -> float | None:
        """How many jobs were due, on average. None: nobody has looked."""
        return self.due / self.samples if self.samples else None

    @property
    def oldest_seconds(self) -> float | None:
        """For how many seconds the longest-waiting job had been due, at worst: exact where one has looked once, else
        within a quarter. 0: nothing was due. None: nobody has looked."""
        if not self.oldest.count:
            return 0.0 if self.samples else None
        return self.oldest.mean if self.oldest.count == 1 else self.oldest.percentile(1)

    @property
    def ended(self) -> int:
        """Jobs that are over, one way or the other."""
        return self.completed + self.dead + self.cancelled

    def __add__(self, other: Point) -> Point:
        """What both saw, as of the time of this one."""
        return Point(
            self.at,
            **{name: getattr(self, name) + getattr(other, name) for name in (*EVENTS, "samples", "due")},
            **{name: getattr(self, name) + getattr(other, name) for name in ("wait", "run", "oldest")},
        )


@dataclass(frozen=True, slots=True)
class Series:
    """Statistics over a time: one point after the other, without a gap, the last of which is not over yet."""

    points: tuple[Point, ...]
    seconds_per_point: float
    until: datetime
    """When it was read, by the store's clock: so far has the last point come."""


def point(at: int, numbers: Numbers, samples: int | None = None) -> Point:
    """What these numbers say about the stretch of time that begins then. Unknown names say nothing.

    `samples`: they are those of one queue, and so often it was looked at all of them; None: they are those of all.
    """
    events = {name: numbers[name] for name in EVENTS if name in numbers}
    of = "" if samples is None else "queue_"
    samples = numbers.get("samples", 0) if samples is None else samples
    return Point(
        datetime.fromtimestamp(at / 1000, UTC),
        **events,
        wait=_histogram("wait", numbers),
        run=_histogram("run", numbers),
        samples=samples,
        due=numbers.get(f"{of}depth", 0) if samples else 0,
        oldest=_histogram(f"{of}oldest", numbers) if samples else Histogram(),
    )


def _histogram(kind: str, numbers: Numbers) -> Histogram:
    prefix = f"{kind}:"
    counts = sorted((int(name[len(prefix) :]), count) for name, count in numbers.items() if name.startswith(prefix))
    return Histogram(tuple(counts), numbers.get(kind, 0))


# --- cells, as they are counted and kept -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cell:
    """What became of the jobs of one task in one queue in one stretch of time."""

    at: int
    """When it begins: a whole minute, or whatever its neighbours go by."""
    queue: str
    task: str
    numbers: Numbers


@dataclass(frozen=True, slots=True)
class Report:
    """What one worker has counted since its report before. It is sent until the store has it, which counts it once."""

    source: str
    """Who counts: one life of a worker, whatever it is called in the meantime."""
    number: int
    """Greater than that of the one before."""
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Depth:
    """What one look has seen of a queue in which jobs are due."""

    queue: str
    due: int
    oldest_ms: int
    """For how long the longest-waiting one has been."""


def sampled(at: int, depths: Sequence[Depth], took_ms: int) -> tuple[Cell, ...]:
    """What one look at all queues has seen then, and how long it took."""
    deepest = sorted(depths, key=lambda depth: (-depth.due, depth.queue))[:SAMPLED_QUEUES]
    due = sum(depth.due for depth in depths)
    oldest = max((depth.oldest_ms for depth in depths), default=None)
    of_all = {"samples": 1, "took": took_ms, "depth": due} | ({} if oldest is None else _once("oldest", oldest))
    return (
        Cell(at, "", "", of_all),
        *(
            Cell(at, depth.queue, "", {"queue_depth": depth.due} | _once("queue_oldest", depth.oldest_ms))
            for depth in deepest
        ),
    )


def _once(kind: str, ms: int) -> dict[str, int]:
    """A histogram's numbers, of one time."""
    return {kind: max(ms, 0), f"{kind}:{bucket(ms)}": 1}


def gathered(cells: Iterable[Cell], step_ms: int) -> list[Cell]:
    """What these come to by stretches of that length, each queue and task by itself; in order."""
    sums: dict[tuple[int, str, str], dict[str, int]] = {}
    for cell in cells:
        add(sums.setdefault((cell.at // step_ms * step_ms, cell.queue, cell.task), {}), cell.numbers)
    return [Cell(*place, numbers) for place, numbers in sorted(sums.items())]


def add(sums: dict[str, int], numbers: Numbers) -> None:
    """Adds the numbers to the sums, name by name."""
    for name, number in numbers.items():
        sums[name] = sums.get(name, 0) + number


# --- how long what is kept -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Roll:
    """After a while, what stretches of `step_ms` have come to is kept by those of `into_ms`."""

    step_ms: int
    into_ms: int
    after_ms: int

    def before(self, now: int) -> int:
        """What begins before that is rolled up now. Always whole ones of the longer stretches."""
        return (now - self.after_ms) // self.into_ms * self.into_ms


ROLLS = (Roll(MINUTE_MS, 5 * MINUTE_MS, 3 * HOUR_MS), Roll(5 * MINUTE_MS, HOUR_MS, 2 * DAY_MS))
KEEP_MS = 30 * DAY_MS

SAMPLED_QUEUES = 1000
"""Of how many queues, the deepest, one look keeps what it has seen."""

POINTS_SHOWN = 400
_STEPS = tuple(minutes * MINUTE_MS for minutes in (1, 5, 10, 15, 30, 60, 120))


def step_of(span_ms: int) -> int:
    """How long a point is best, in a series over so long: as short as what is kept allows, and no more than
    `POINTS_SHOWN` in all. Raises `InvalidOption` for a time over which nothing is kept.

    >>> [step_of(hours * HOUR_MS) // MINUTE_MS for hours in (1, 6, 24, 168, 720)]
    [1, 5, 5, 60, 120]
    """
    if not MINUTE_MS <= span_ms <= KEEP_MS:
        raise InvalidOption(f"span {format_ms(span_ms)} is out of range; give one between 1m and {format_ms(KEEP_MS)}")
    kept = next((roll.step_ms for roll in ROLLS if span_ms <= roll.after_ms), HOUR_MS)
    return next(step for step in _STEPS if step >= kept and span_ms <= step * POINTS_SHOWN)


def starts(now: int, span_ms: int, step_ms: int) -> range:
    """When each point of a series begins that lasts so long and ends with what has not ended yet."""
    last = now // step_ms * step_ms
    return range(last - (-(-span_ms // step_ms) - 1) * step_ms, last + 1, step_ms)
