"""Numbers and times as the pages write them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

from markupsafe import Markup

from mainspring.clock import moment, now_ms
from mainspring.model.durations import span

__all__ = ["Now", "amount", "counted", "number", "percent", "seconds", "sentence", "zone_named"]

THIN = "\u202f"
"""A narrow space that no line is broken at: it parts thousands, and numbers from their units."""


def number(value: float | None) -> str:
    """`12 345`, with thin spaces; `–` for none."""
    if value is None:
        return "–"
    return f"{value:,.0f}".replace(",", THIN)


def amount(value: float | None) -> str:
    """A number for a tile: short where it is long, `1.24 M`."""
    if value is None:
        return "–"
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e5, "k")):
        if abs(value) >= size:
            scaled = value / (1e3 if unit == "k" else size)
            return f"{scaled:.3g}{THIN}{unit}"
    if value and abs(value) < 10 and value != int(value):
        return f"{value:.1f}"
    return number(value)


def percent(fraction: float | None) -> str:
    """`0.8 %` of 0.008."""
    if fraction is None:
        return "–"
    value = 100 * fraction
    if 0 < value < 0.1:
        return f"<{THIN}0.1{THIN}%"
    return f"{value:.1f}{THIN}%" if value < 9.95 and value else f"{value:.0f}{THIN}%"


def seconds(value: float | None) -> str:
    """A duration: `850 ms`, `2 h 5 min`; `–` for none."""
    return "–" if value is None else span(value).replace(" ", THIN if span(value).count(" ") == 1 else "\u00a0")


def counted(count: int, one: str, many: str | None = None) -> str:
    """`1 job`, `12 345 jobs`."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


def sentence(text: str) -> str:
    """What is said about something, as a sentence of its own: "is due in 3 h" becomes "It is due in 3 h."."""
    subject = "It " if text.partition(" ")[0] in _VERBS else ""
    told = f"{subject}{text}" if subject else f"{text[:1].upper()}{text[1:]}"
    return told if told.endswith((".", "!", "?")) else f"{told}."


_VERBS = {"is", "has", "was", "waits", "runs"}


def zone_named(name: str | None) -> tzinfo:
    """The time zone of whoever reads, by the name that his browser gave; UTC where that is none."""
    if not name or len(name) > 64:
        return UTC
    try:
        return ZoneInfo(name)
    except Exception:  # noqa: BLE001 - KeyError, ValueError, OSError: whatever a wrong name leads to
        return UTC


@dataclass(frozen=True, slots=True)
class Now:
    """The moment at which a page is made, and where its reader's clock stands."""

    at: datetime
    zone: tzinfo = UTC

    @classmethod
    def here(cls, zone: tzinfo = UTC) -> Now:
        """By this machine's clock."""
        return cls(moment(now_ms()), zone)

    @property
    def zone_name(self) -> str:
        """As it is written after a time."""
        return self.at.astimezone(self.zone).tzname() or "UTC"

    def ago(self, at: datetime | None) -> str:
        """`4 min ago`, `in 3 h`, `now`."""
        if at is None:
            return "–"
        passed = (self.at - at).total_seconds()
        if abs(passed) < 1:
            return "now"
        return f"{seconds(passed)} ago" if passed > 0 else f"in {seconds(-passed)}"

    def is_past(self, at: datetime, seconds: float = 30) -> bool:
        """Whether that was more than some seconds ago."""
        return (self.at - at).total_seconds() > seconds

    def exact(self, at: datetime) -> str:
        """`2026-11-28 14:30:00.123 CET`."""
        local = at.astimezone(self.zone)
        return f"{local:%Y-%m-%d %H:%M:%S}.{local.microsecond // 1000:03} {local.tzname()}"

    def day(self, at: datetime) -> str:
        """`Mon 30 Nov 2026, 05:00:00 CET`, for times to come."""
        local = at.astimezone(self.zone)
        return f"{local:%a %d %b %Y, %H:%M:%S} {local.tzname()}"

    def clock(self, at: datetime) -> str:
        """The time of day, with the day unless it is today's."""
        local = at.astimezone(self.zone)
        today = local.date() == self.at.astimezone(self.zone).date()
        return f"{local:%H:%M:%S}" if today else f"{local:%d %b %H:%M:%S}"

    def time(self, at: datetime | None, *, clock: bool = False) -> Markup:
        """A `<time>`: how long ago, which a script lets go on, or the time of day; with the exact time in its title."""
        if at is None:
            return Markup('<span class="none">–</span>')
        shown = self.clock(at) if clock else self.ago(at)
        goes_on = Markup() if clock else Markup(" data-ago")
        made = Markup('<time datetime="{}" title="{}"{}>{}</time>')
        return made.format(at.astimezone(UTC).isoformat(), self.exact(at), goes_on, shown)

    def both(self, at: datetime) -> Markup:
        """How long ago, and when, for whoever cannot point at it."""
        return Markup('{} <span class="sub">{}</span>').format(self.time(at), self.clock(at))
