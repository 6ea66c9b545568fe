"""Limits, and the arithmetic of rates: how much more may start through a gate, and when it opens again.

A rate is exact: in no stretch of time of its length do more starts than it allows. What has started is remembered in
buckets of a hundredth of that length, and a bucket counts until its last moment is out of sight: so a gate opens by at
most a hundredth later than an exact log would have it, and never too early.

A gate's memory is text (`Spent`): per length in milliseconds, the numbers of buckets since 1970 and what was spent in
each. It is opaque to the stores, save the one that does this arithmetic itself and is tested against it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any, Final, cast

from mainspring.errors import InvalidOption
from mainspring.model.durations import Duration, format_ms, to_ms
from mainspring.model.text import quote

__all__ = [
    "KEEP",
    "NO_LIMITS",
    "Keep",
    "Limits",
    "Rate",
    "Rates",
    "Spent",
    "check_concurrency",
    "check_cost",
    "check_max_queued",
    "check_rates",
    "check_weight",
    "share",
]

BUCKETS = 100
MAX_RATES = 10
"""How many rates one gate can have."""
MAX_LIMIT = 1_000_000_000
"""More than that is no limit; and stores count with what fits into 64 bits."""
MAX_COST = 1_000_000
SHARE_UNIT = 1_000_000
"""How far one start of cost 1 moves the virtual time of a partition of weight 1."""


class Keep(Enum):
    """What says that a setting is to stay as it is, where None already says that there is no limit."""

    KEEP = "keep"


KEEP: Final = Keep.KEEP


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `limit` starts in any stretch of time of length `per`; jobs of a higher `cost` count for more.

        app.queue("api", rate=[Rate(10, per="1s"), Rate(300, per="1m")])

    Raises `InvalidOption`, `InvalidDuration`.
    """

    limit: int
    per: Duration = "1s"

    def __post_init__(self) -> None:
        if type(self.limit) is not int or not 1 <= self.limit <= MAX_LIMIT:
            raise InvalidOption(f"limit={quote(self.limit)} is not a whole number from 1 to {MAX_LIMIT:,}")
        if not 1 <= to_ms(self.per) <= 366 * 86_400_000:
            raise InvalidOption(f"per={quote(self.per)} is not a time from a millisecond to a year")
        # One way to write each length, so that equal rates are equal.
        object.__setattr__(self, "per", format_ms(to_ms(self.per)))

    @property
    def per_ms(self) -> int:
        """The length in milliseconds."""
        return _length(self.per)

    @classmethod
    def parse(cls, text: str) -> Rate:
        """A rate as it is written on a command line: "50/1m", "10/s". Raises as the class does."""
        found = re.fullmatch(r"\s*([0-9]{1,20})\s*/\s*(\S+)\s*", text)
        if not found:
            raise InvalidOption(f"rate {quote(text)} is not of the form 50/1m: a number, a slash, a time")
        per = found[2] if found[2][0].isdigit() else f"1{found[2]}"
        return cls(int(found[1]), per)

    def __str__(self) -> str:
        return f"{self.limit}/{self.per}"


Rates = Rate | str | Sequence[Rate | str]
"""One rate or several, all of which hold; as text such as "50/1m" too."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a gate lets through. None and (): no limit.

        app.queue("api", partition="tenant_id", per_partition=Limits(concurrency=5, rate="50/1m"))

    Raises `InvalidOption`, `InvalidDuration`.
    """

    concurrency: int | None = None
    """How many jobs may run at once."""
    rate: Rates = ()
    """How many may start in a time; all of them hold. Kept as a tuple of `Rate`."""
    max_queued: int | None = None
    """How many jobs may wait; enqueuing more is an error."""
    weight: float = 1.0
    """Of a partition: its share beside the others'."""

    def __post_init__(self) -> None:
        # Stores keep a limit of 0 too, where nothing runs; people are told to pause (`app.queue`, `set_limits`).
        if self.concurrency != 0:
            check_concurrency(self.concurrency)
        check_max_queued(self.max_queued)
        check_weight(self.weight)
        object.__setattr__(self, "rate", check_rates(self.rate))

    @property
    def rates(self) -> tuple[Rate, ...]:
        """`rate`, as the type checker knows it."""
        return cast("tuple[Rate, ...]", self.rate)

    def to_json(self) -> dict[str, Any]:
        """What is set, as JSON values; what is not, is left out."""
        stored: dict[str, Any] = {}
        if self.concurrency is not None:
            stored["concurrency"] = self.concurrency
        if self.rates:
            stored["rates"] = rates_to_json(self.rates)
        if self.max_queued is not None:
            stored["max_queued"] = self.max_queued
        if self.weight != 1.0:
            stored["weight"] = self.weight
        return stored

    @classmethod
    def from_json(cls, *stored: Mapping[str, Any]) -> Limits:
        """What several of `to_json` come to together: a later one wins, setting by setting."""
        merged: dict[str, Any] = {}
        for each in stored:
            merged.update(each)
        return cls(
            merged.get("concurrency"),
            tuple(Rate(limit, per_ms / 1000) for limit, per_ms in merged.get("rates") or ()),
            merged.get("max_queued"),
            merged.get("weight") or 1.0,
        )


def check_concurrency(value: int | None) -> int | None:
    """`value`, if it can be a limit of running jobs; else raises `InvalidOption`."""
    if value is not None and (type(value) is not int or not 1 <= value <= MAX_LIMIT):
        raise InvalidOption(
            f"concurrency={quote(value)} is not a whole number from 1 to {MAX_LIMIT:,}; None: no limit "
            "(to stop all, pause it)"
        )
    return value


def check_max_queued(value: int | None) -> int | None:
    """`value`, if it can be a limit of waiting jobs; else raises `InvalidOption`."""
    if value is not None and (type(value) is not int or not 1 <= value <= MAX_LIMIT):
        raise InvalidOption(f"max_queued={quote(value)} is not a whole number from 1 to {MAX_LIMIT:,}; None: no limit")
    return value


def check_weight(value: float) -> float:
    """`value`, if it can be a partition's share; else raises `InvalidOption`."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.001 <= value <= 1000:
        raise InvalidOption(f"weight={quote(value)} is not a number from 0.001 to 1000")
    return value


def check_cost(value: int) -> int:
    """`value`, if it can be how many starts a job counts for; else raises `InvalidOption`."""
    if type(value) is not int or not 1 <= value <= MAX_COST:
        raise InvalidOption(f"cost={quote(value)} is not a whole number from 1 to {MAX_COST:,}")
    return value


def check_rates(value: Rates | None) -> tuple[Rate, ...]:
    """One rate, several, or none, each perhaps as text; raises `InvalidOption`, `InvalidDuration` for what is none."""
    if value is None:
        return ()
    several = (value,) if isinstance(value, (Rate, str)) else value
    if not isinstance(several, Sequence):
        raise InvalidOption(f'rate={quote(value)} is neither a Rate, such as Rate(50, per="1m"), nor a list of them')
    if len(several) > MAX_RATES:
        raise InvalidOption(f"rate={quote(value)} are {len(several)} rates; give {MAX_RATES} at most")
    rates = tuple(Rate.parse(each) if isinstance(each, str) else each for each in several)
    for rate in rates:
        if not isinstance(rate, Rate):
            raise InvalidOption(f'rate={quote(rate)} is not a Rate, such as Rate(50, per="1m") or "50/1m"')
    return rates


NO_LIMITS: Final = Limits()


def rates_to_json(rates: Iterable[Rate]) -> list[list[int]]:
    """Rates as JSON: limit and length in milliseconds."""
    return [[rate.limit, rate.per_ms] for rate in rates]


@lru_cache(maxsize=1000)
def _length(per: Duration) -> int:
    """Read once, however often a gate is looked at."""
    return to_ms(per)


def share(cost: int, weight: float) -> int:
    """How far a start moves its partition's virtual time: the smallest is served next (stride scheduling, Waldspurger
    and Weihl 1995)."""
    return max(1, round(cost * SHARE_UNIT / weight))


class Spent:
    """What has started through one gate, as far as its rates look back.

    Made from the text that the store keeps, asked and added to at one time, and written back. What lies in the future
    (the clock was put back) counts as of now.
    """

    __slots__ = ("_buckets", "_now", "_rates")

    def __init__(self, rates: Sequence[Rate], text: str | None, now: int) -> None:
        self._now = now
        self._rates = rates
        stored = {int(per_ms): buckets for per_ms, buckets in json.loads(text).items()} if text else {}
        self._buckets: dict[int, dict[int, int]] = {}
        for rate in rates:
            per_ms = rate.per_ms
            if per_ms not in self._buckets:
                self._buckets[per_ms] = self._recent(per_ms, stored)

    def _recent(self, per_ms: int, stored: Mapping[int, Sequence[Sequence[int]]]) -> dict[int, int]:
        """The buckets of one length that count still. A length that is new takes over what the longest one knows."""
        width = _width(per_ms)
        known = per_ms if per_ms in stored else max(stored, default=None)
        recent: dict[int, int] = {}
        for number, cost in stored[known] if known is not None else ():
            last = (number + 1) * _width(known or 1) - 1
            bucket = min(last, self._now) // width
            if (bucket + 1) * width > self._now - per_ms:
                recent[bucket] = recent.get(bucket, 0) + cost
        return recent

    def left(self) -> int | None:
        """How much more may start now; None: any number."""
        return min(
            (max(0, rate.limit - sum(self._buckets[rate.per_ms].values())) for rate in self._rates), default=None
        )

    def price(self, cost: int) -> int:
        """What a job of that cost counts: one that costs more than a rate allows at all takes all of it."""
        return min([cost, *(rate.limit for rate in self._rates)])

    def opens_at(self, cost: int = 1) -> int:
        """When a job of that cost may start, if nothing else does before."""
        return max([self._now, *(self._frees_at(rate, self.price(cost)) for rate in self._rates)])

    def _frees_at(self, rate: Rate, cost: int) -> int:
        buckets, width = self._buckets[rate.per_ms], _width(rate.per_ms)
        over = sum(buckets.values()) + cost - rate.limit
        for number in sorted(buckets):
            if over <= 0:
                break
            over -= buckets[number]
            frees_at = (number + 1) * width + rate.per_ms
            if over <= 0:
                return frees_at
        return self._now

    def add(self, cost: int) -> None:
        """So much starts now."""
        for per_ms, buckets in self._buckets.items():
            bucket = self._now // _width(per_ms)
            buckets[bucket] = buckets.get(bucket, 0) + cost

    def to_text(self) -> str | None:
        """What to keep; None where there is no rate."""
        if not self._buckets:
            return None
        stored = {str(per_ms): sorted(map(list, buckets.items())) for per_ms, buckets in self._buckets.items()}
        return json.dumps(stored, separators=(",", ":"))


def _width(per_ms: int) -> int:
    """The length of a bucket."""
    return -(-per_ms // BUCKETS)
