"""How often a failed job is tried again, for which exceptions, and after how long."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from mainspring.errors import InvalidDuration, InvalidOption
from mainspring.model.durations import Duration, format_ms, to_ms
from mainspring.model.text import quote

__all__ = ["Delay", "Retry"]

Delay = Duration | Sequence[Duration] | Callable[[int, BaseException | None], Duration]
"""How long to wait before the next try.

One duration, which grows; a sequence, of which the last repeats; or a function of the number of the try that failed
(from 1) and its exception.
"""

ExceptionTypes = type[BaseException] | tuple[type[BaseException], ...]

_MAX_ATTEMPTS = 1_000_000


@dataclass(frozen=True, slots=True)
class Retry:
    """The retry rules of a task: `Retry(attempts=5, delay="1s", factor=2, max_delay="5m")`.

    The wait after try number n is `delay * factor ** (n - 1)`, at most `max_delay`; `factor=1` keeps it fixed. A
    sequence or a function says each wait itself, so that `factor` does not count there. With `jitter` (full jitter,
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/) the wait is anything between nothing and
    that, so that jobs that failed together do not come back together.

    `on` names the exception types that are tried again (none: every `Exception`), `never` those that are not, which
    wins. `attempts` counts all tries, the first one too.

    Raises `InvalidOption` or `InvalidDuration`, naming the value.
    """

    attempts: int = 8
    delay: Delay = "15s"
    factor: float = 2.0
    max_delay: Duration = "1h"
    jitter: bool = True
    on: ExceptionTypes = ()
    never: ExceptionTypes = ()
    _delays_ms: tuple[int, ...] = field(init=False, repr=False, compare=False)
    _max_ms: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if type(self.attempts) is not int or not 1 <= self.attempts <= _MAX_ATTEMPTS:
            raise InvalidOption(f"attempts={quote(self.attempts)} is not a whole number from 1 to {_MAX_ATTEMPTS}")
        if isinstance(self.factor, bool) or not isinstance(self.factor, (int, float)) or not 1 <= self.factor <= 1000:
            raise InvalidOption(f"factor={quote(self.factor)} is not a number from 1 to 1000; 1 keeps the delay fixed")
        if type(self.jitter) is not bool:
            raise InvalidOption(f"jitter={quote(self.jitter)} is neither True nor False")
        put = object.__setattr__
        put(self, "factor", float(self.factor))
        put(self, "on", _exception_types("on", self.on))
        put(self, "never", _exception_types("never", self.never))
        put(self, "_max_ms", _option_ms("max_delay", self.max_delay))
        put(self, "max_delay", format_ms(self._max_ms))
        self._set_delays(self.delay)

    def _set_delays(self, delay: Delay) -> None:
        """Keep one canonical form of `delay`, so that equal rules are equal however they were written."""
        put = object.__setattr__
        if callable(delay):
            put(self, "_delays_ms", ())
            return
        if isinstance(delay, (int, float, str, timedelta)) or not isinstance(delay, Sequence):
            steps: tuple[int, ...] = (_option_ms("delay", delay),)
            put(self, "delay", format_ms(steps[0]))
        else:
            steps = tuple(_option_ms("delay", step) for step in delay)
            put(self, "delay", tuple(format_ms(step) for step in steps))
        if not steps:
            raise InvalidOption('delay=() says no duration; give at least one, such as delay=["1s", "10s"]')
        if max(steps) > self._max_ms:
            raise InvalidOption(
                f"delay={quote(self.delay)} goes over max_delay={self.max_delay!r}; shorten it, or raise max_delay"
            )
        put(self, "_delays_ms", steps)

    def allows(self, exception: BaseException | None) -> bool:
        """Whether a run that ended in `exception` may be tried again. An unknown one (None) may."""
        if exception is None:
            return True
        return isinstance(exception, self.on or Exception) and not isinstance(exception, self.never)

    def delay_ms(self, attempt: int, exception: BaseException | None, chance: float) -> int:
        """How long to wait after try number `attempt` (from 1) failed; `chance`, in [0, 1), is the jitter's share.

        Raises whatever a delay function raises, and `InvalidDuration` for what it should not have returned.
        """
        if callable(self.delay):
            wait: float = to_ms(self.delay(attempt, exception))
        elif isinstance(self.delay, tuple):
            wait = self._delays_ms[min(attempt, len(self._delays_ms)) - 1]
        else:
            wait = self._grown_ms(attempt)
        wait = min(wait, self._max_ms)
        return int(wait * chance if self.jitter else wait)

    def _grown_ms(self, attempt: int) -> float:
        first = self._delays_ms[0]
        try:
            return first and first * self.factor ** (attempt - 1)
        except OverflowError:
            return self._max_ms

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads. Raises `InvalidOption` if the rules hold code, which no store can keep."""
        if callable(self.delay) or self.on or self.never:
            raise InvalidOption(
                "a job's own retry rules are stored as data; give a delay function, on= and never= to the task instead"
            )
        names = ("attempts", "delay", "factor", "max_delay", "jitter")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_json(cls, value: object) -> Retry:
        """The rules that `to_json` wrote. Raises `InvalidOption` for anything else."""
        names = {"attempts", "delay", "factor", "max_delay", "jitter"}
        if not isinstance(value, Mapping) or not value.keys() <= names:
            raise InvalidOption(f"retry={quote(value)} is not an object with (some of) {', '.join(sorted(names))}")
        return cls(**value)


def _option_ms(name: str, value: Any) -> int:
    try:
        return to_ms(value)
    except InvalidDuration as error:
        raise InvalidDuration(f"{name}: {error}") from None


def _exception_types(name: str, value: Any) -> tuple[type[BaseException], ...]:
    types = (
        value if isinstance(value, tuple) else tuple(value) if isinstance(value, (list, set, frozenset)) else (value,)
    )
    for each in types:
        if not (isinstance(each, type) and issubclass(each, BaseException)):
            raise InvalidOption(f"{name}={quote(each)} is not an exception type; give types, such as {name}=(OSError,)")
    return types
