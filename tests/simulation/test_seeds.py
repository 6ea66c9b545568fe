"""Whatever happens to workers, and in whatever order, no law is broken, and all comes to its end once it stops."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from faults.events import Moved, Renewed
from faults.history import check

from .__main__ import line_of, verdict
from .trial import try_seed

FIXED = range(1, 151)
"""Tried on every run, however slow the machine."""
TESTS = Path(__file__).parent.parent
SECONDS = 40.0
"""For how long others are tried."""


def seeds() -> range:
    """New ones each day, so that all runs together see many; in CI always the same, so that no change is turned away
    for what it did not do; or those that MAINSPRING_SEEDS names (`5000`, `17-40`)."""
    asked = os.environ.get("MAINSPRING_SEEDS")
    if asked:
        first, _, last = asked.partition("-")
        return range(int(first), int(last or first) + 1)
    if os.environ.get("CI"):
        return range(FIXED.stop, FIXED.stop + 100_000)
    today = datetime.now(UTC).toordinal() * 100_000
    return range(today, today + 100_000)


@pytest.mark.parametrize("first", range(FIXED.start, FIXED.stop, 25))
def test_no_law_is_broken_by_known_seeds(first: int) -> None:
    """And by what task functions alone have seen, as in tests with real stores, the laws accuse nobody either."""
    trials = [try_seed(seed) for seed in range(first, first + 25)]
    broken = [verdict(trial) for trial in trials if not trial.holds]
    assert not broken, "\n".join(broken)
    for trial in trials:
        assert check([event for event in trial.history if not isinstance(event, Moved | Renewed)]) == []


def test_no_law_is_broken_by_further_seeds() -> None:
    """As many as there is time for; which one broke a law is in the report, and does it again."""
    end = time.monotonic() + SECONDS
    for seed in seeds():
        trial = try_seed(seed)
        assert trial.holds, verdict(trial)
        if time.monotonic() > end:
            break


def test_a_seed_gives_the_same_history_again() -> None:
    """In another process, where sets are in another order, too."""
    here = [line_of(event) for event in try_seed(7).history]
    for hashes in ("1", "2"):
        program = "from simulation.__main__ import replay; replay(7)"
        environment = {**os.environ, "PYTHONHASHSEED": hashes}
        there = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, env=environment, cwd=TESTS, check=True
        )
        assert there.stdout.splitlines()[:-1] == here
