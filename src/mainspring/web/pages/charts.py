"""Charts as data: what a template draws as SVG, and writes as a table for those who do not see it.

Heights are whole pixels; widths are counted in points of time, and stretched by the browser to the room that there is,
while strokes and texts keep their size. So a chart is crisp at any width, with no script.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

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
    empty: bool


def stacked(
    id: str, title: str, about: str, span: Span, curves: Sequence[Curve], scale: Scale, word: Callable[[float], str]
) -> Chart:
    """Areas on top of each other, with steps: each point is as wide as its time."""
    below = [0.0] * span.points
    traces = []
    for curve in curves:
        tops = [low + (value or 0) for low, value in zip(below, curve.values, strict=True)]
        upper, lower = _steps(tops, scale), _steps(below, scale)
        filled = f"M{upper} L{_backwards(lower)}Z" if any(curve.values) else ""
        traces.append(Trace(curve.name, curve.key, f"M{upper}" if any(curve.values) else "", filled))
        below = tops
    return _chart(id, title, about, span, curves, tuple(reversed(traces)), scale, word)


def lines(
    id: str, title: str, about: str, span: Span, curves: Sequence[Curve], scale: Scale, word: Callable[[float], str]
) -> Chart:
    """Lines through the middle of each point, with gaps where there is nothing."""
    traces = tuple(Trace(curve.name, curve.key, _line(curve.values, scale)) for curve in curves)
    return _chart(id, title, about, span, curves, traces, scale, word)


def spark(values: Values) -> Trace:
    """A small area without axes, for a tile."""
    known = [value or 0 for value in values]
    top = max(known, default=0) or 1
    scale = Scale(lambda value: value / top, ())
    steps = _steps(known, scale, SPARK_HEIGHT)
    return Trace("", "", f"M{steps}", f"M{steps} V{SPARK_HEIGHT} H0Z")


def _chart(
    id: str,
    title: str,
    about: str,
    span: Span,
    curves: Sequence[Curve],
    traces: tuple[Trace, ...],
    scale: Scale,
    word: Callable[[float], str],
) -> Chart:
    def said(value: float | None) -> str:
        return "–" if value is None else word(value)

    values = zip(*(curve.values for curve in curves), strict=True)
    rows = tuple((span.label(index), *map(said, each)) for index, each in enumerate(values))
    known = {curve.name: [value for value in curve.values if value is not None] for curve in curves}
    empty = not any(any(each) for each in known.values())
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
        summary=f"{title}. {'Nothing happened in this time' if empty else '; '.join(parts)}.",
        empty=empty,
    )


def _y(place: float, height: int = HEIGHT) -> int:
    return round(height * (1 - place))


def _x(tick: Tick) -> Mark:
    # On the left there is room beside the field, on the right there is little.
    anchor = "end" if tick.at > 0.98 else "middle"
    return Mark(round(100 * tick.at, 2), tick.label, anchor)


def _steps(values: Sequence[float], scale: Scale, height: int = HEIGHT) -> str:
    """`0 100 H1 V90 H2 …`: a path, its first word apart."""
    parts = []
    last = None
    for index, value in enumerate(values):
        y = _y(scale.place(value), height)
        if last is None:
            parts.append(f"0 {y}")
        elif y != last:
            parts.append(f"H{index} V{y}")
        last = y
    return " ".join([*parts, f"H{len(values)}"]) if parts else "0 0"


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
