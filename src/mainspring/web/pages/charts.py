"""Charts as data: what a template draws as SVG, and writes as a table for those who do not see it.

Heights are whole pixels; widths are counted in points of time, and stretched by the browser to the room that there is,
while strokes and texts keep their size. So a chart is crisp at any width, with no script.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from itertools import groupby

from mainspring.web.pages.axes import Scale, Tick, time_ticks

__all__ = ["HEIGHT", "Chart", "Curve", "Span", "Trace", "lines", "spark", "stacked"]

HEIGHT = 144
"""Of the field in which curves are drawn."""
SPARK_HEIGHT = 28

Values = Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Span:
    """The stretch of time that a chart shows, in points of equal length."""

    start: datetime
    seconds: int
    points: int
    zone: tzinfo

    @property
    def end(self) -> datetime:
        """Where the last point ends."""
        return self.start + timedelta(seconds=self.seconds * self.points)

    def label(self, index: int) -> str:
        """When that point begins, as a table says it."""
        at = (self.start + timedelta(seconds=self.seconds * index)).astimezone(self.zone)
        return f"{at:%a %H:%M}" if self.seconds * self.points > 86_400 // 2 else f"{at:%H:%M}"


@dataclass(frozen=True, slots=True)
class Curve:
    """Values to be drawn."""

    name: str
    key: str
    """Its class: says how it looks."""
    values: Values


@dataclass(frozen=True, slots=True)
class Trace:
    """One drawn curve."""

    name: str
    key: str
    path: str
    area: str = ""
    """The path of what is filled under it."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A tick, in pixels from the top (y) or percent from the left (x)."""

    at: float
    label: str
    anchor: str = "middle"


@dataclass(frozen=True, slots=True)
class Chart:
    """What the template draws."""

    id: str
    title: str
    about: str
    """What is counted, and in what unit."""
    points: int
    traces: tuple[Trace, ...]
    y: tuple[Mark, ...]
    x: tuple[Mark, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """Per point: when, then a text for each column."""
    summary: str
    """In words, for those who do not see it."""
    nothing: str = ""
    """What is said where there is nothing to be seen."""

    @property
    def empty(self) -> bool:
        """Whether nothing happened."""
        return bool(self.nothing)


def stacked(
    id: str,
    title: str,
    about: str,
    span: Span,
    curves: Sequence[Curve],
    scale: Scale,
    word: Callable[[float], str],
    *,
    measured: bool = False,
) -> Chart:
    """Areas on top of each other, with steps: each point is as wide as its time. Where a curve has nothing there is a
    gap in it. `measured`: where there is no value at all, nobody has looked; else there was nothing to be seen."""
    below = [0.0] * span.points
    traces = []
    for curve in curves:
        tops = [low + (value or 0) for low, value in zip(below, curve.values, strict=True)]
        traces.append(_areas(curve, tops, below, scale) if any(curve.values) else Trace(curve.name, curve.key, ""))
        below = tops
    return _chart(id, title, about, span, curves, tuple(reversed(traces)), scale, word, measured=measured)


def _areas(curve: Curve, tops: Sequence[float], below: Sequence[float], scale: Scale, height: int = HEIGHT) -> Trace:
    path, area = [], []
    for start, end in _stretches(curve.values):
        upper = _steps(tops[start:end], scale, height, start)
        lower = _steps(below[start:end], scale, height, start)
        path.append(f"M{upper}")
        area.append(f"M{upper} L{_backwards(lower)}Z")
    return Trace(curve.name, curve.key, " ".join(path), " ".join(area))


def _stretches(values: Values) -> list[tuple[int, int]]:
    """Where there is something: from where to where, without a gap."""
    known = groupby(range(len(values)), key=lambda index: values[index] is not None)
    stretches = [tuple(indexes) for is_known, indexes in known if is_known]
    return [(indexes[0], indexes[-1] + 1) for indexes in stretches]


def lines(
    id: str, title: str, about: str, span: Span, curves: Sequence[Curve], scale: Scale, word: Callable[[float], str]
) -> Chart:
    """Lines through the middle of each point, with gaps where there is nothing."""
    traces = tuple(Trace(curve.name, curve.key, _line(curve.values, scale)) for curve in curves)
    return _chart(id, title, about, span, curves, traces, scale, word)


def spark(values: Values) -> Trace:
    """A small area without axes, for a tile."""
    top = max((value for value in values if value), default=1.0)
    tops = [value or 0.0 for value in values]
    scale = Scale(lambda value: value / top, ())
    return _areas(Curve("", "", values), tops, [0.0] * len(values), scale, SPARK_HEIGHT)


def _chart(
    id: str,
    title: str,
    about: str,
    span: Span,
    curves: Sequence[Curve],
    traces: tuple[Trace, ...],
    scale: Scale,
    word: Callable[[float], str],
    *,
    measured: bool = False,
) -> Chart:
    def said(value: float | None) -> str:
        return "–" if value is None else word(value)

    values = zip(*(curve.values for curve in curves), strict=True)
    rows = tuple((span.label(index), *map(said, each)) for index, each in enumerate(values))
    known = {curve.name: [value for value in curve.values if value is not None] for curve in curves}
    nothing = ""
    if not any(any(each) for each in known.values()):
        nothing = "Nothing in this time" if any(known.values()) or not measured else "Not measured in this time"
    parts = [f"{name}: most {word(max(each))}, last {word(each[-1])}" for name, each in known.items() if each]
    return Chart(
        id=id,
        title=title,
        about=about,
        points=span.points,
        traces=traces,
        y=tuple(Mark(_y(tick.at), tick.label) for tick in scale.ticks),
        x=tuple(_x(tick) for tick in time_ticks(span.start, span.end, span.zone)),
        columns=tuple(curve.name for curve in curves),
        rows=rows,
        summary=f"{title}. {nothing or '; '.join(parts)}.",
        nothing=nothing,
    )


def _y(place: float, height: int = HEIGHT) -> int:
    return round(height * (1 - place))


def _x(tick: Tick) -> Mark:
    # On the left there is room beside the field, on the right there is little.
    anchor = "end" if tick.at > 0.98 else "middle"
    return Mark(round(100 * tick.at, 2), tick.label, anchor)


def _steps(values: Sequence[float], scale: Scale, height: int, start: int) -> str:
    """`0 100 H1 V90 H2 …`: a path from `start` on, its first word apart."""
    parts = []
    last = None
    for index, value in enumerate(values, start):
        y = _y(scale.place(value), height)
        if last is None:
            parts.append(f"{index} {y}")
        elif y != last:
            parts.append(f"H{index} V{y}")
        last = y
    return " ".join([*parts, f"H{start + len(values)}"])


def _backwards(steps: str) -> str:
    """The same path from its end to its beginning."""
    first, _, rest = steps.partition(" H")
    x, y = map(int, first.split())
    corners = [(x, y)]
    for word in (f"H{rest}" if rest else "").split():
        to = int(word[1:])
        x, y = (to, y) if word[0] == "H" else (x, to)
        corners.append((x, y))
    return " ".join(f"{x} {y}" for x, y in reversed(corners))


def _line(values: Values, scale: Scale) -> str:
    parts: list[str] = []
    drawing = False
    for index, value in enumerate(values):
        if value is None:
            drawing = False
            continue
        y = _y(scale.place(value))
        alone = not drawing and (index + 1 == len(values) or values[index + 1] is None)
        if alone:
            parts.append(f"M{index + 0.1:g} {y}h.8")
        else:
            parts.append(f"{'L' if drawing else 'M'}{index + 0.5:g} {y}")
        drawing = True
    return "".join(parts)
