"""Round ticks for axes: of numbers, shares, durations (by powers), ages, and of time as the reader's clock shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from math import ceil, floor, log10

from mainspring.web.pages.words import THIN, amount, seconds

__all__ = ["Scale", "Tick", "ages", "counts", "durations", "shares", "time_ticks"]


@dataclass(frozen=True, slots=True)
class Tick:
    """A place on an axis, and what is written there."""

    at: float
    """From 0, where the axis begins, to 1."""
    label: str


@dataclass(frozen=True, slots=True)
class Scale:
    """A vertical axis: where values are on it, 0 (bottom) to 1 (top), and its ticks."""

    place: Callable[[float], float]
    ticks: tuple[Tick, ...]


def counts(largest: float, steps: int = 4) -> Scale:
    """From 0 to a round number that `largest` fits under."""
    step = max(1.0, _round_up(largest / steps))
    top = step * max(1, ceil(largest / step))
    return _linear(step, top, amount)


def shares(largest: float) -> Scale:
    """From 0 % to a round share that `largest` fits under, at least 1 %."""
    step = _round_up(max(largest, 0.01) / 4)
    top = min(1.0, step * ceil(max(largest, 0.01) / step - 1e-9))
    places = 0 if step >= 0.01 else 1
    return _linear(step, top, lambda share: f"{100 * (share or 0):.{places}f}{THIN}%")


_MARKS = (
    (0.0001, "0.1 ms"),
    (0.001, "1 ms"),
    (0.01, "10 ms"),
    (0.1, "100 ms"),
    (1, "1 s"),
    (10, "10 s"),
    (60, "1 min"),
    (600, "10 min"),
    (3600, "1 h"),
    (6 * 3600, "6 h"),
    (86_400, "1 d"),
    (7 * 86_400, "7 d"),
    (30 * 86_400, "30 d"),
)


def durations(smallest: float, largest: float) -> Scale:
    """By powers, from the mark under `smallest` to the one over `largest`: waits span from milliseconds to hours."""
    at = [mark for mark, _ in _MARKS]
    low = max([index for index, mark in enumerate(at) if mark <= smallest], default=0)
    high = min([index for index, mark in enumerate(at) if mark >= largest], default=len(at) - 1)
    low = min(low, len(at) - 3)
    high = max(high, low + 2)
    first, last = log10(at[low]), log10(at[high])

    def place(value: float) -> float:
        return min(1.0, max(0.0, (log10(max(value, at[low])) - first) / (last - first)))

    every = 1 if high - low <= 6 else 2
    marks = _MARKS[low : high + 1 : every]
    return Scale(place, tuple(Tick(place(mark), label.replace(" ", THIN)) for mark, label in marks))


# Neither these nor their multiples are an hour and a half, or the like: there is little room beside a chart.
_AGE_STEPS = (1, 2, 5, 10, 15, *(60 * n for n in (1, 2, 5, 10, 15)), *(3600 * n for n in (1, 2, 3, 6)))
_DAY = 86_400


def ages(largest: float, steps: int = 4) -> Scale:
    """From 0 to a round time that `largest` seconds fit under, even: what grows by a second a second is a straight
    line."""
    step = next((each for each in _AGE_STEPS if largest / each <= steps), 0) or _DAY * _round_up(largest / steps / _DAY)
    return _linear(step, step * max(1, ceil(largest / step)), _age)


def _age(value: float | None) -> str:
    return f"{value:g}{THIN}s" if value and value < 60 else seconds(value) if value else "0"


_TIME_STEPS = (60, 300, 600, 900, 1800, 3600, 2 * 3600, 3 * 3600, 6 * 3600, 12 * 3600, 86_400, 2 * 86_400, 7 * 86_400)


def time_ticks(start: datetime, end: datetime, zone: tzinfo, most: int = 7) -> tuple[Tick, ...]:
    """Full minutes, hours or days between the two, at most `most`."""
    length = (end - start).total_seconds()
    if length <= 0:
        return ()
    step = next((each for each in _TIME_STEPS if length / each <= most), _TIME_STEPS[-1])
    written = "%H:%M" if step < _DAY else "%a %d"
    ticks: list[Tick] = []
    for at in _full(start, end, zone, step):
        # At midnight the day says more than 00:00.
        form = "%a %d" if step >= 3600 and (at.hour, at.minute) == (0, 0) else written
        ticks.append(Tick((at - start).total_seconds() / length, f"{at:{form}}"))
    return tuple(ticks)


def _full(start: datetime, end: datetime, zone: tzinfo, step: int) -> Iterator[datetime]:
    """When the reader's clock shows a multiple of `step` seconds since midnight, or midnight of every so many days: as
    often as it does so, also where it is put forward or back."""
    every = 60 if step < 900 else 900  # clocks are put forward and back, and differ, by quarters of an hour
    first = ceil(start.timestamp() / every) * every
    midnights = 0
    for moment in range(first, int(end.timestamp()) + 1, every):
        at = datetime.fromtimestamp(moment, UTC).astimezone(zone)
        shown = at.hour * 3600 + at.minute * 60
        if shown % min(step, _DAY):
            continue
        if step <= _DAY or midnights % (step // _DAY) == 0:
            yield at
        midnights += 1


def _linear(step: float, top: float, word: Callable[[float | None], str]) -> Scale:
    marks: Sequence[float] = [index * step for index in range(round(top / step) + 1)]

    def place(value: float) -> float:
        return min(1.0, max(0.0, value / top))

    return Scale(place, tuple(Tick(place(mark), word(mark)) for mark in marks))


def _round_up(value: float) -> float:
    """The next of 1, 2, 5 times a power of ten."""
    if value <= 0:
        return 1.0
    power: float = 10 ** floor(log10(value))
    for factor in (1, 2, 5):
        if value <= factor * power * (1 + 1e-9):
            return factor * power
    return 10 * power
