"""A short chaos on each store; `make faults` runs it for longer."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from .chaos.__main__ import shown
from .chaos.conductor import FEWEST
from .chaos.run import run

SECONDS = 25.0
FEWEST_JOBS = 300
BASE = 6000


def seed() -> int:
    """Other mischief each time, in CI always the same; MAINSPRING_TEST_SEED for that of a run that failed."""
    if given := os.environ.get("MAINSPRING_TEST_SEED"):
        return int(given)
    return BASE if os.environ.get("CI") else BASE + random.SystemRandom().randrange(1000)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("store", ["sqlite", "postgres", "redis"])
@pytest.mark.fault("all of it at once", "sqlite", "postgres", "redis")
def test_whatever_is_done_to_it_every_promise_is_kept(store: str, tmp_path: Path) -> None:
    """Workers, programs that enqueue and the server are killed, stopped, cut off and starved, at random moments."""
    report = run(store, seed(), SECONDS, keep=tmp_path, fewest=FEWEST_JOBS)
    assert report.is_clean, shown(report)
    assert report.faults.total() >= FEWEST
    assert report.states["completed"] >= FEWEST_JOBS
