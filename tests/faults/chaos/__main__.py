"""`make faults`, or `python -m faults.chaos --store postgres --minutes 5 --seed 7`.

Prints the seed, what was done to whom, and what was found. A seed draws the same mischief again; at which step of which
program it strikes is up to the machine, so a violation comes with the whole history of its job.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..events import Event
from .run import Report, run


def main() -> None:
    parser = argparse.ArgumentParser(description="Break everything around Mainspring, and look whether it holds.")
    parser.add_argument("--store", action="append", choices=["sqlite", "postgres", "redis"], help="default: all three")
    parser.add_argument("--minutes", type=float, default=1.0, help="of faults, on each store")
    parser.add_argument("--seed", type=int, help="default: another one each time")
    parser.add_argument("--mix", action="append", default=[], help="only this kind of mischief; repeat for more")
    parser.add_argument("--round", type=float, default=60.0, help="seconds until all comes to rest and is looked at")
    parser.add_argument("--keep", type=Path, help="a folder for the histories and what the programs said")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.SystemRandom().getrandbits(31)
    failed = False
    for store in options.store or ["sqlite", "postgres", "redis"]:
        left, at = options.minutes * 60, seed
        while left > 0.5:
            seconds = min(left, options.round)
            keep = options.keep / f"{store}-{at}" if options.keep else None
            began = time.monotonic()
            report = run(store, at, seconds, options.mix, keep)
            print(shown(report, time.monotonic() - began), flush=True)
            failed = failed or not report.is_clean
            left, at = left - seconds, at + 1
    sys.exit(failed)


def shown(report: Report, took: float = 0.0) -> str:
    """The report for people."""
    lines = [
        f"{report.store}, seed {report.seed}: {report.seconds:g} s of faults, {took:.0f} s in all",
        f"  done: {_counted(report.faults)}",
        f"  jobs: {_counted(report.states)}; {report.starts} runs; refused: {_counted(report.refused)}",
    ]
    if report.is_clean:
        return "\n".join([*lines, "  every promise held"])
    laws = _counts(violation.law for violation in report.violations)
    lines.append(f"  BROKEN: {_counted(laws)}; programs that ended by themselves: {len(report.surprises)}")
    seen: dict[str, int] = {}
    for violation in report.violations:
        seen[violation.law] = seen.get(violation.law, 0) + 1
        if seen[violation.law] <= 3:
            lines += [f"  {violation}", *(f"    {line}" for line in _story(report.history, violation.what))]
    lines += [f"  {surprise}" for surprise in report.surprises]
    again = f"make faults STORE={report.store} SEED={report.seed} MINUTES={report.seconds / 60:g}"
    return "\n".join([*lines, f"  again: {again}"])


def _story(history: list[Event], job: str) -> list[str]:
    """All that is known of a job, and what befell everybody and its workers meanwhile."""
    own = [event for event in history if getattr(event, "job", None) == job]
    if not own:
        return []
    processes = {getattr(event, "process", None) for event in own} | {""}
    begin, end = own[0].at, max(event.at for event in own if type(event).__name__ not in ("Found", "Kept") or own[-1:])
    around = [
        event
        for event in history
        if type(event).__name__ == "Fault" and getattr(event, "process", None) in processes and begin <= event.at <= end
    ]
    return [_line(event, begin) for event in sorted([*own, *around], key=lambda event: event.at)][:60]


def _line(event: Event, begin: float) -> str:
    fields: dict[str, Any] = {
        name: value for name, value in asdict(event).items() if name not in ("at", "job") and value
    }
    words = " ".join(f"{name}={value}" for name, value in fields.items())
    return f"{event.at - begin:+9.3f} {type(event).__name__} {words}"


def _counts(words: Any) -> dict[str, int]:
    counts: dict[str, int] = {}
    for word in words:
        counts[word] = counts.get(word, 0) + 1
    return counts


def _counted(counts: Any) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items(), key=lambda each: -each[1])) or "none"


if __name__ == "__main__":
    main()
