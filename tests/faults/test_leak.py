"""A worker's memory is flat; `make leak` says so of a million jobs."""

from __future__ import annotations

from pathlib import Path

import pytest

from .leak import measure

BOUND = 2_000_000
"""Fifty bytes for each of the last 40,000 jobs: whatever is kept for each of them takes more."""


@pytest.mark.timeout(300)
@pytest.mark.fault("a million jobs", "sqlite")
def test_sixty_thousand_jobs_leave_nothing_behind(tmp_path: Path) -> None:
    measured = measure(f"sqlite:///{tmp_path / 'jobs.db'}", 60_000)
    assert measured.growth < BOUND, measured.samples
