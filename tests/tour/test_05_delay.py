"""5. Delay: not now

A job can wait for its time. Until then it is *scheduled*: it costs nothing, survives restarts, and starts within a few
milliseconds of its time without anybody polling for it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mainspring import InvalidOption, Mainspring, State
from mainspring.testing import drain, freeze

app = Mainspring("sqlite://")


@app.task
def remind(user_id: int) -> None: ...


def test_a_job_can_run_after_a_while() -> None:
    """Durations are seconds, a `timedelta`, or text: "90s", "1h30m", "2d"."""
    with freeze() as clock:
        job = remind.using(delay="2h").enqueue(7)
        assert job.state is State.SCHEDULED
        assert job.run_at == clock.now + timedelta(hours=2)

        assert drain(app).ran == 0
        clock.travel("2h")
        assert drain(app).completed == 1


def test_or_at_a_moment() -> None:
    """Which needs a time zone: 9 o'clock alone is no moment."""
    with freeze(datetime(2026, 12, 24, tzinfo=UTC)) as clock:
        job = remind.using(at=datetime(2026, 12, 24, 9, tzinfo=UTC)).enqueue(7)
        clock.travel_to(job.run_at)
        assert drain(app).completed == 1
    with pytest.raises(InvalidOption, match="has no time zone"):
        remind.using(at=datetime(2026, 12, 24, 9))


def test_a_scheduled_job_can_be_moved_or_run_now() -> None:
    job = remind.using(delay="2d").enqueue(7)
    assert app.jobs.reschedule(job.id, delay="1h") == 1
    assert job.refresh().run_at < datetime.now(UTC) + timedelta(hours=2)
    assert job.retry()
    assert drain(app).completed == 1


def test_the_time_counts_from_when_a_job_became_due() -> None:
    """Its place in the queue, too: a job that was due at noon goes before one that was enqueued at five past."""
    with freeze() as clock:
        early = remind.using(delay="1m").enqueue(1)
        clock.travel("2m")
        late = remind.enqueue(2)
        assert [job.id for job in drain(app).jobs] == [early.id, late.id]


def test_the_worker_starts_it_on_time(working) -> None:
    """With a real worker, and the real time. Never before it; and as soon as the machine has a moment for it."""

    def late() -> timedelta:
        job = remind.using(delay="100ms").enqueue(7)
        job.result(timeout=60)
        return job.started_at - job.run_at

    with working(app):
        assert any(timedelta() <= late() < timedelta(milliseconds=500) for _ in range(20))
