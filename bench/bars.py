"""What has to be reached, by figure and store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench.figures import Figure

__all__ = ["bar_of"]


@dataclass(frozen=True, slots=True)
class Bar:
    """Bounds of a figure's value, and of its ratio to what stands beside it."""

    least: float | None = None
    most: float | None = None
    ratio: float | None = None

    def __str__(self) -> str:
        return " and ".join(self._parts())

    def _parts(self) -> Iterator[str]:
        if self.least is not None:
            yield f"≥ {self.least:,.0f}"
        if self.most is not None:
            yield f"≤ {self.most:,.0f}"
        if self.ratio is not None:
            yield f"ratio ≥ {self.ratio:g}"

    def reached(self, figure: Figure) -> bool:
        return (
            (self.least is None or figure.value >= self.least)
            and (self.most is None or figure.value <= self.most)
            and (self.ratio is None or figure.ratio is None or figure.ratio >= self.ratio)
        )


_EVERYWHERE = {
    "import": Bar(most=250),
    "enqueue_many": Bar(least=40_000),
    "drain_counted": Bar(ratio=0.95),
    "drain_queued": Bar(ratio=0.85),
    "drain_finished": Bar(ratio=0.85),
    "memory": Bar(most=80),
}

_BARS = {
    "sqlite": {
        "drain": Bar(least=15_000, ratio=0.12),
        "drain_limited": Bar(least=8_000),
        "drain_partitions": Bar(least=8_000),
        "drain_skewed": Bar(least=8_000),
        "insert_flow": Bar(most=1_000),
        "drain_pairs": Bar(ratio=0.5),
        "pick_up_p50": Bar(most=10),
        "newcomer_p99": Bar(most=20),
    },
    "postgres": {
        "enqueue": Bar(ratio=0.77),
        "drain": Bar(least=25_000, ratio=0.5),
        "two_workers": Bar(ratio=1),
        "pick_up_p50": Bar(most=5),
    },
    "redis": {
        "enqueue": Bar(ratio=0.7),
        "drain": Bar(least=25_000, ratio=0.4),
        "two_workers": Bar(ratio=1),
        "pick_up_p50": Bar(most=3),
    },
}


def bar_of(store: str, key: str) -> Bar | None:
    """What this figure has to reach on this kind of store; None: it is only shown."""
    return _BARS[store].get(key) or _EVERYWHERE.get(key)
