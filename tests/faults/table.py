"""Which fault is covered by which test on which store: read from the tests' marks, written into docs/reliability.md.

`python -m faults.table` writes it. A test says `@pytest.mark.fault("kill -9 a worker", "sqlite", "postgres")`.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["FAULTS", "PAGE", "STORES", "Fault", "covered", "page_with", "table"]

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- faults -->", "<!-- end of faults -->"
STORES = {"sqlite": "SQLite", "postgres": "PostgreSQL", "redis": "Redis"}
SERVERS = ("postgres", "redis")


@dataclass(frozen=True, slots=True)
class Fault:
    """What can go wrong, what is promised for it, and on which stores it can."""

    name: str
    promise: str
    stores: tuple[str, ...] = tuple(STORES)


FAULTS = (
    Fault("kill -9 a worker", "its jobs run elsewhere within lease and reap, without having used an attempt"),
    Fault("kill -9 who enqueues", "each job is there once, or not at all"),
    Fault("SIGSTOP past the lease, SIGCONT", "one more run; what the stale one comes to is refused"),
    Fault("kill -9 the server", "everybody reconnects; nothing acknowledged is lost, at the declared level", SERVERS),
    Fault("cut connections", "opened anew, asked again; nobody is told", SERVERS),
    Fault("silent network", "noticed within ten seconds, ridden out", SERVERS),
    Fault("slow network", "only takes time", SERVERS),
    Fault("lost replies", "what was asked twice is done once", SERVERS),
    Fault("fail-over", "the new primary is found; workers go on", ("redis",)),
    Fault("connections used up", "heartbeat and settling have their own", SERVERS),
    Fault("full disk", "a typed error, nothing done by halves, and it heals"),
    Fault("clocks wrong by an hour", "decide nothing: time is the server's", SERVERS),
    Fault("blocked event loop", "the lease is kept, the job is named with its stack"),
    Fault("poison job", "dead after three crashes"),
    Fault("segfault, exit, OOM kill in a process", "costs exactly the job that did it"),
    Fault("a job that eats up the memory", "it alone is killed; a failed attempt"),
    Fault("malformed row", "set aside; the rest goes on"),
    Fault("a million jobs", "nothing walks the backlog or the history"),
    Fault("5,000 schedules due at once", "a thousand to a request"),
    Fault("hostile arguments", "10 MB, depth, NUL: refused before anything is stored, alike everywhere"),
    Fault("all of it at once", "chaos, judged by the laws: see below"),
)


@dataclass(frozen=True, slots=True)
class Mark:
    """One `fault` mark."""

    fault: str
    stores: tuple[str, ...]
    file: Path
    test: str


def marks() -> Iterator[Mark]:
    """All of them, read without running anything."""
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for decorator in node.decorator_list:
                    if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.fault":
                        name, *stores = (ast.literal_eval(argument) for argument in decorator.args)
                        yield Mark(name, tuple(stores), file.relative_to(ROOT), node.name)


def covered() -> Mapping[tuple[str, str], list[Mark]]:
    """By fault and store."""
    cells: defaultdict[tuple[str, str], list[Mark]] = defaultdict(list)
    for mark in marks():
        for store in mark.stores:
            cells[mark.fault, store].append(mark)
    return cells


def table() -> str:
    """The table, in Markdown: numbers, and what they stand for below."""
    cells = covered()
    notes: list[str] = []
    numbers: dict[tuple[Path, str], int] = {}
    lines = [f"| fault | promise | {' | '.join(STORES.values())} |", "| --- | --- |" + " --- |" * len(STORES)]
    for fault in FAULTS:
        row = [fault.name, fault.promise]
        for store in STORES:
            shown = []
            for mark in cells.get((fault.name, store), ()):
                key = (mark.file, mark.test)
                if key not in numbers:
                    numbers[key] = len(numbers) + 1
                    name = mark.test.removeprefix("test_").replace("_", " ")
                    notes.append(f"{numbers[key]}. {name} ([{mark.file.relative_to('tests')}](../{mark.file}))")
                shown.append(str(numbers[key]))
            row.append(", ".join(shown) if store in fault.stores else "–")
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join([*lines, "", *notes])


def page_with(text: str) -> str:
    """The page with that table in its place."""
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page_with(table()), encoding="utf-8")
