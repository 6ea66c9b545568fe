"""When a schedule's jobs are due: cron lines in a time zone, fixed intervals, and what to do about missed slots."""

from __future__ import annotations

import copy
import json
from bisect import bisect_left
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any, Literal, get_args
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

from cronsim import CronSim

from mainspring.errors import InvalidCron, InvalidOption
from mainspring.model.durations import MAX_MS
from mainspring.model.text import quote

__all__ = ["CatchUp", "Cron", "Due", "Every", "Timing", "jitter", "parse_timing", "tick_id"]

CatchUp = Literal["none", "latest", "all"]
"""What to do about slots that nobody served in time: run none of them, the latest, or all."""

_ON_TIME_MS = 60_000
"""How late a slot may be served and still not count as missed."""

_DAY = 86_400
_EPOCH = datetime(1970, 1, 1)
_TICKS = UUID("5c0f7d0e-6c1b-5a5e-9d53-0d6f3b0b7a10")
_LONGEST_LINE = 256


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron line in a time zone: `Cron("0 9 * * MON-FRI", "Europe/Berlin")`.

    Five fields: minute, hour, day of month, month, weekday; with six, seconds come first. Lists, ranges, steps, names
    (`MON`, `JAN`), `L` and `LW` as day, `MON#1` and `5L` as weekday, as in cronsim and Debian's cron.

    When clocks change, as Debian's cron does it: a line that names its hours and minutes (neither field begins with
    `*`) runs once for each time that it names: when clocks skip that time, at the moment of the change; when they
    repeat it, the first time. Any other line runs whenever the clock shows a fitting time.

    Raises `InvalidCron`, naming line, zone and reason.
    """

    expression: str
    tz: str = "UTC"
    _zone: ZoneInfo = field(init=False, repr=False, compare=False)
    _line: CronSim = field(init=False, repr=False, compare=False)
    _names_times: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "_zone", _zone(self.tz))
        if not isinstance(self.expression, str) or len(self.expression) > _LONGEST_LINE:
            raise InvalidCron(f"cron line {quote(self.expression)} is not a text of at most {_LONGEST_LINE} characters")
        what = f"cron line {quote(self.expression)} in time zone {self.tz}"
        try:
            # The year 2000 stands for all: what does not come within 50 years of it never comes.
            next(line := CronSim(self.expression, datetime(2000, 1, 1)))
        except StopIteration:
            raise InvalidCron(f"{what} fits no day of any year; check its day, month and weekday") from None
        except Exception as error:  # noqa: BLE001 - cronsim's own, but also what its parser did not foresee
            reason = str(error).lower() or type(error).__name__
            raise InvalidCron(
                f'{what} cannot be read: {reason}; write "minute hour day month weekday", such as "30 9 * * MON-FRI", '
                "or six fields with the second first"
            ) from None
        put(self, "expression", " ".join(self.expression.split()))
        put(self, "_line", line)
        put(self, "_names_times", not any(part.startswith("*") for part in line.parts[1:3]))

    def next(self, after_ms: int) -> int:
        """The first slot strictly after that moment, both in ms since 1970 UTC."""
        after = after_ms // 1000
        return 1000 * (self._next_named(after) if self._names_times else self._next_shown(after))

    # Below, times are whole seconds; a "local" one is what the clock on the wall shows, counted as if it were UTC.

    def _next_named(self, after: int) -> int:
        local = after + self._offset(after)
        while True:
            local = self._next_local(local)
            slot = self._first_moment(local)
            if slot > after:
                return slot

    def _first_moment(self, local: int) -> int:
        """When the clock first shows that time, or skips it."""
        moment = int((_EPOCH + timedelta(seconds=local)).replace(tzinfo=self._zone).timestamp())
        skipped = self._offset(moment) - (local - moment)
        return self._change(moment - skipped, moment) if skipped else moment

    def _next_shown(self, after: int) -> int:
        start = after + 1
        while True:
            offset = self._offset(start)
            slot = self._next_local(start + offset - 1) - offset
            end = min(slot, start + 2 * _DAY)
            if self._offset(end) != offset:
                start = self._change(start, end)
            elif slot == end:
                return slot
            else:
                # Between here and the slot no clock shows a fitting time, however often it changes on the way.
                start = max(end, slot - _DAY)

    def _next_local(self, local: int) -> int:
        line = copy.copy(self._line)
        line.dt = _EPOCH + timedelta(seconds=local)
        return int((next(line) - _EPOCH).total_seconds())

    def _offset(self, moment: int) -> int:
        offset = datetime.fromtimestamp(moment, self._zone).utcoffset()
        return int(offset.total_seconds()) if offset else 0

    def _change(self, start: int, end: int) -> int:
        """The first moment up to `end` at which the zone's offset is not that at `start`."""
        before = self._offset(start)
        moments = range(start, end)
        return start + bisect_left(moments, True, key=lambda moment: self._offset(moment) != before)


@dataclass(frozen=True, slots=True)
class Every:
    """A fixed interval, counted from 1970 UTC, so that all workers agree on the slots. Raises `InvalidOption`."""

    interval_ms: int

    def __post_init__(self) -> None:
        if type(self.interval_ms) is not int or not 1 <= self.interval_ms <= MAX_MS:
            raise InvalidOption(
                f"interval_ms={quote(self.interval_ms)} is not a whole number of milliseconds from 1 on"
            )

    def next(self, after_ms: int) -> int:
        """The first slot strictly after that moment, both in ms since 1970 UTC."""
        return (after_ms // self.interval_ms + 1) * self.interval_ms


@dataclass(frozen=True, slots=True)
class Due:
    """Which slots to serve now, and which one comes after them."""

    slots: tuple[int, ...]
    next_at: int


@dataclass(frozen=True, slots=True)
class Timing:
    """When a schedule ticks. `jitter_ms` spreads each slot's job over that long. Raises `InvalidOption`."""

    spec: Cron | Every
    catch_up: CatchUp = "latest"
    jitter_ms: int = 0

    def __post_init__(self) -> None:
        if self.catch_up not in get_args(CatchUp):
            raise InvalidOption(f"catch_up={quote(self.catch_up)} is not one of {', '.join(get_args(CatchUp))}")
        if type(self.jitter_ms) is not int or not 0 <= self.jitter_ms <= MAX_MS:
            raise InvalidOption(f"jitter_ms={quote(self.jitter_ms)} is not a whole number of milliseconds from 0 on")

    def due(self, next_at: int, now: int, limit: int = 1000) -> Due:
        """What to serve at `now`, when `next_at` is the first slot that was not served yet.

        "all": every slot up to now, at most `limit`, the others next time. "latest": the last one. "none": the last one
        too, but only if it came in the past minute.
        """
        if next_at > now:
            return Due((), next_at)
        if self.catch_up == "all":
            slots: list[int] = []
            while next_at <= now and len(slots) < limit:
                slots.append(next_at)
                next_at = self.spec.next(next_at)
            return Due(tuple(slots), next_at)
        last = self._last(next_at, now)
        missed = self.catch_up == "none" and now - last > _ON_TIME_MS
        return Due(() if missed else (last,), self.spec.next(now))

    def _last(self, slot: int, now: int) -> int:
        """The last slot up to now. Bisected: a year of every-second slots takes 35 looks, not 31 million."""
        return slot + bisect_left(range(slot, now), True, key=lambda moment: self.spec.next(moment) > now)

    def to_text(self) -> str:
        """JSON object text, the same for equal timings."""
        spec = self.spec
        when = {"every_ms": spec.interval_ms} if isinstance(spec, Every) else {"cron": spec.expression, "tz": spec.tz}
        return json.dumps(when | {"catch_up": self.catch_up, "jitter_ms": self.jitter_ms}, separators=(",", ":"))


def parse_timing(text: str) -> Timing:
    """What `Timing.to_text` wrote. Raises `InvalidOption` or `InvalidCron` for anything else."""
    try:
        stored: dict[str, Any] = dict(json.loads(text))
        rest = {"catch_up": stored.pop("catch_up"), "jitter_ms": stored.pop("jitter_ms")}
        spec = Every(stored.pop("every_ms")) if "every_ms" in stored else Cron(stored.pop("cron"), stored.pop("tz"))
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, (InvalidCron, InvalidOption)):
            raise
        raise InvalidOption(f"timing {quote(text)} is not what a schedule's timing looks like") from None
    return Timing(spec, **rest)


def jitter(name: str, slot: int, jitter_ms: int) -> int:
    """How long after its slot the job runs, in [0, `jitter_ms`): always the same for one slot of one schedule."""
    return int.from_bytes(blake2b(f"{name}:{slot}".encode(), digest_size=8).digest()) % (jitter_ms or 1)


def tick_id(name: str, slot: int) -> str:
    """The id of the job of one slot: whoever makes it makes the same one."""
    return str(uuid5(_TICKS, f"{name}:{slot}"))


def _zone(tz: object) -> ZoneInfo:
    try:
        return ZoneInfo(tz)  # type: ignore[arg-type]
    except Exception:  # noqa: BLE001 - KeyError, ValueError, OSError, TypeError: whatever a wrong name leads to
        raise InvalidCron(
            f'time zone {quote(tz)} is not known here; give an IANA name such as "Europe/Berlin" '
            "(where the system has no zone data, install the package tzdata)"
        ) from None
