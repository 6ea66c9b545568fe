"""Measures Mainspring on each kind of store and shows one table: `make bench`.

Every figure that can stands beside the same done by the raw loop in the same run (or by another drain that it is to be
compared with), as a ratio: machines differ and are shared, ratios hold. The figures go to bench/results as JSON.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from bench import report
from bench.figures import Figure, Sizes
from bench.ground import Ground
from bench.postgres import postgres_ground
from bench.redis import redis_ground
from bench.sections import SECTIONS
from bench.sqlite import sqlite_ground

GROUNDS: Mapping[str, Callable[[], AbstractContextManager[Ground]]] = {
    "sqlite": sqlite_ground,
    "postgres": postgres_ground,
    "redis": redis_ground,
}

RESULTS = Path(__file__).parent / "results"

WIDTH = 120
"""Of what is not shown on a terminal, which has its own."""


def main() -> None:
    options = parsed()
    scale = 10 if options.quick else 1
    sizes = Sizes(options.jobs // scale, options.backlog // scale, options.concurrency, options.repeat)
    console = Console(stderr=options.json, log_path=False)
    if not console.is_terminal:
        console.width = WIDTH
    with ExitStack() as stack:
        grounds: list[Ground] = [stack.enter_context(GROUNDS[name]()) for name in options.store]
        measured: dict[str, list[Figure]] = {}
        for ground in grounds:
            console.log(ground.title)
            measured[ground.name] = []
            for figure in figures(ground, options.only, sizes):
                measured[ground.name].append(figure)
                console.log(report.shown(figure))
    console.print(report.table(grounds, measured))
    for line in report.unreached(grounds, measured):
        console.print(line, style="red")
    document = json.dumps(report.document(grounds, measured, sizes), indent=2)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%S}.json").write_text(document + "\n")
    if options.json:
        print(document)


def figures(ground: Ground, sections: list[str], sizes: Sizes) -> Iterator[Figure]:
    for name, section in SECTIONS.items():
        if name in sections:
            yield from section(ground, sizes)
            ground.forget()


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--store", nargs="+", choices=GROUNDS, default=list(GROUNDS), help="kinds of store")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), help="these sections")
    parser.add_argument("--jobs", type=int, default=50_000, metavar="N", help="how many jobs a drain has")
    parser.add_argument("--backlog", type=int, default=1_000_000, metavar="N", help="how many others there are beside")
    parser.add_argument("--concurrency", type=int, default=100, metavar="N", help="of each worker")
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="figures are medians of so many")
    parser.add_argument("--quick", action="store_true", help="a tenth of the jobs")
    parser.add_argument("--json", action="store_true", help="print the JSON document, and the table to stderr")
    return parser.parse_args()


if __name__ == "__main__":
    main()
