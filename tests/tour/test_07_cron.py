"""7. Cron: over and over

A *schedule* makes a job at every one of its times. However many workers run, however often they restart, each time
makes exactly one job; no single machine has to be "the scheduler".
"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from mainspring import InvalidCron, Mainspring, current
from mainspring.testing import drain, freeze, isolated

app = Mainspring("sqlite://")

ran: list[str] = []


@app.cron("0 9 * * mon-fri", tz="Europe/Berlin")
def morning_report() -> None:
    """A cron line: minute, hour, day, month, weekday. A sixth field, in front, would be seconds."""
    ran.append(f"report {current().job.run_at:%a %H:%M}")


@app.every("1h")
def tidy() -> None:
    """A plain interval, counted from 1970 UTC: at every full hour."""
    ran.append(f"tidy {current().job.run_at:%a %H:%M}")


@app.cron("0 0 1 * *", name="monthly-north", args={"region": "north"})
@app.task
def bill(region: str) -> None:
    """A task can have schedules, each with its arguments; they are checked like those of any job."""
    ran.append(f"bill {region}")


def test_a_schedule_makes_a_job_at_each_of_its_times() -> None:
    """A Friday morning, in UTC: 9 o'clock in Berlin is 8 o'clock here. `isolated` gives the app an empty store for a
    while, and in it the schedules begin to count (chapter 10)."""
    ran.clear()
    with freeze(datetime(2026, 2, 27, 6, 30, tzinfo=UTC)) as clock, isolated(app):
        for _ in range(3):
            clock.travel("1h")
            drain(app)
    assert ran == ["tidy Fri 07:00", "report Fri 08:00", "tidy Fri 08:00", "tidy Fri 09:00"]


def test_times_that_were_missed_are_made_up_for_once() -> None:
    """No worker ran from Friday to Monday. `catch_up="latest"`, the default, makes one job for all the times that
    passed; "all" makes one for each, "none" waits for the next."""
    ran.clear()
    with freeze(datetime(2026, 2, 27, 7, 30, tzinfo=UTC)) as clock, isolated(app):
        clock.travel("3d")
        drain(app)
    assert sorted(ran) == ["bill north", "report Fri 08:00", "tidy Mon 07:00"]


def test_a_schedule_can_be_looked_at_paused_and_run_by_hand() -> None:
    """Also on the command line: `mainspring schedules list`, `pause`, `resume`, `run`."""
    ran.clear()
    with freeze() as clock, isolated(app):
        assert [schedule.name for schedule in app.schedules.list()] == ["monthly-north", "morning_report", "tidy"]
        app.schedules.pause("tidy")
        clock.travel("1h")
        assert "tidy" not in [job.task for job in drain(app).jobs]
        app.schedules.run_now("tidy")
        assert "tidy" in [job.task for job in drain(app).jobs]


def test_a_schedule_can_be_data() -> None:
    """Made by a user of yours, say, and kept in the store with the jobs."""
    with freeze(datetime(2026, 2, 27, tzinfo=UTC)) as clock, isolated(app):
        app.schedules.put("south", "bill", cron="30 12 * * *", tz="America/New_York", args={"region": "south"})
        view = app.schedules.list()[-2]
        assert (view.name, view.args, view.next_at) == (
            "south",
            {"region": "south"},
            datetime(2026, 2, 27, 17, 30, tzinfo=UTC),
        )
        clock.travel("1d")
        assert {"region": "south"} in [job.args for job in drain(app).jobs]


def test_a_wrong_line_is_refused_where_it_stands() -> None:
    with pytest.raises(InvalidCron, match="61"):
        app.cron("61 * * * *")
    with pytest.raises(InvalidCron, match="Europe/Berlim"):
        app.cron("0 9 * * *", tz="Europe/Berlim")
