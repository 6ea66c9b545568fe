"""Long runs and replays.

python -m simulation --minutes 10               # seed after seed, from a new one on
python -m simulation --first 1 --seeds 5000     # so many, from that one on
python -m simulation --seed 123                 # one, and what happened in it
python -m simulation --seed 123 --about job-7   # only what has that in it
python -m simulation --seed 123 --log           # with what the workers say
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from dataclasses import fields

from faults.events import Event

from .trial import Trial, try_seed


def main() -> int:
    """1 where a law was broken."""
    parser = argparse.ArgumentParser(prog="python -m simulation", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, help="replay this one, and show what happened")
    parser.add_argument("--about", default="", help="show only lines with this text")
    parser.add_argument("--log", action="store_true", help="show what the workers log, too")
    parser.add_argument("--first", type=int, default=int(time.time()), help="the first of many seeds")
    parser.add_argument("--seeds", type=int, help="how many")
    parser.add_argument("--minutes", type=float, default=1.0, help="for how long, where --seeds is not given")
    asked = parser.parse_args()
    if asked.seed is not None:
        return replay(asked.seed, asked.about, asked.log)
    return many(asked.first, asked.seeds, asked.minutes)


def replay(seed: int, about: str = "", log: bool = False) -> int:
    """Run one seed and print its history."""
    if log:
        logging.basicConfig(format="           %(message)s", stream=sys.stdout, level=logging.INFO)
    trial = try_seed(seed, log=log, write=lambda event: log and print(line_of(event)))
    for event in () if log else trial.history:
        if about in (line := line_of(event)):
            print(line)
    print(verdict(trial))
    return 0 if trial.holds else 1


def many(first: int, seeds: int | None, minutes: float) -> int:
    """Run one seed after the other, and print those that break a law."""
    begun = time.monotonic()
    broken = tried = 0
    seconds = 0.0
    while tried < seeds if seeds is not None else time.monotonic() - begun < minutes * 60:
        trial = try_seed(first + tried)
        tried += 1
        seconds += trial.seconds
        if not trial.holds:
            broken += 1
            print(verdict(trial), flush=True)
    took = time.monotonic() - begun
    print(
        f"{tried} seeds from {first} on, {broken} broke a law; {60 * tried / took:.0f} a minute, "
        f"{seconds / 3600:.1f} h of simulated time in {took:.0f} s"
    )
    return 1 if broken else 0


def line_of(event: Event) -> str:
    """An event for people."""
    said = (f"{each.name}={getattr(event, each.name)}" for each in fields(event) if each.name != "at")
    shown = " ".join(text for text in said if not text.endswith(("=", "=None", "=()")))
    return f"{event.at:9.3f}  {type(event).__name__:<12} {shown}"


def verdict(trial: Trial) -> str:
    """What is to be said about a seed."""
    if trial.holds:
        return f"seed {trial.seed}: no law broken in {trial.seconds:.0f} s of simulated time, {trial.requests} requests"
    lines = [f"seed {trial.seed} breaks a law (python -m simulation --seed {trial.seed}):"]
    lines += [f"  unsafe  {violation}" for violation in trial.unsafe[:10]]
    lines += [f"  undone  {violation}" for violation in trial.undone[:10]]
    lines += [f"  uncaught  {fault}" for fault in trial.faults[:10]]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
