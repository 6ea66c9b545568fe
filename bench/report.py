"""Figures as one table, the stores side by side, and as one JSON document."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from bench.bars import bar_of
from bench.figures import Figure, Sizes
from bench.ground import Ground

__all__ = ["document", "shown", "table", "unreached"]

Measured = Mapping[str, Sequence[Figure]]
"""By the name of the ground."""


def shown(figure: Figure) -> str:
    """A figure in a line of text."""
    ratio = "" if figure.ratio is None else f", ratio {figure.ratio:.2f}"
    return f"{figure.what}: {_number(figure.value)} {figure.unit}{ratio}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def table(grounds: Sequence[Ground], measured: Measured) -> Table:
    """Each figure, what was measured beside it, their ratio; green what reaches its bar, red what does not."""
    drawn = Table("", title="Mainspring", box=SIMPLE_HEAD)
    for ground in grounds:
        for heading in (" ".join(ground.title.split()[:2]), "beside", "ratio"):
            drawn.add_column(heading, justify="right", no_wrap=True)
    rows: dict[str, str] = {}
    for figures in measured.values():
        rows |= {figure.key: f"{figure.what}, {figure.unit}" for figure in figures}
    for key, what in rows.items():
        cells: list[Text] = []
        for ground in grounds:
            found = [figure for figure in measured[ground.name] if figure.key == key]
            cells += _cells(ground.name, found[0]) if found else [Text()] * 3
        drawn.add_row(what, *cells)
    return drawn


def _cells(store: str, figure: Figure) -> list[Text]:
    bar = bar_of(store, figure.key)
    style = "" if bar is None else "green" if bar.reached(figure) else "bold red"
    value, beside, ratio = Text(_number(figure.value), style), figure.beside, figure.ratio
    if beside is None or ratio is None:
        return [value, Text(), Text()]
    return [value, Text(f"{beside.name} {_number(beside.value)}"), Text(f"{ratio:.2f}", style)]


def unreached(grounds: Sequence[Ground], measured: Measured) -> list[str]:
    """What does not reach its bar, for people."""
    missed = []
    for ground in grounds:
        for figure in measured[ground.name]:
            bar = bar_of(ground.name, figure.key)
            if bar is not None and not bar.reached(figure):
                missed.append(f"{ground.name}: {shown(figure)}; it has to be {bar}")
    return missed


def document(grounds: Sequence[Ground], measured: Measured, sizes: Sizes) -> dict[str, Any]:
    """All of it, for programs."""
    return {
        "machine": f"Python {platform.python_version()}, {platform.system()}, {os.cpu_count()} cores",
        "sizes": asdict(sizes),
        "stores": {
            ground.name: {
                "title": ground.title,
                "figures": [_written(ground.name, figure) for figure in measured[ground.name]],
            }
            for ground in grounds
        },
    }


def _written(store: str, figure: Figure) -> dict[str, Any]:
    bar = bar_of(store, figure.key)
    return {
        "key": figure.key,
        "what": figure.what,
        "value": figure.value,
        "unit": figure.unit,
        "beside": figure.beside and figure.beside._asdict(),
        "ratio": figure.ratio,
        "bar": None if bar is None else asdict(bar) | {"reached": bar.reached(figure)},
    }
