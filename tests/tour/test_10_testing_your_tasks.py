"""10. Testing your tasks

Four tools, all in `mainspring.testing`; you have met most of them by now. None of them is a mock: jobs are validated,
stored, claimed, run and settled by the parts that a worker is made of.

    isolated(app)    an empty store in memory for your app, as long as the `with` block
    drain(app)       run whatever is due, here and now, until nothing is left      (await adrain(app) in async tests)
    freeze()         time stands still, and moves when the test says so
    inline(app)      each job runs as soon as it is enqueued

Below, `app` is what your program has in some module, on a real store; the tests must not touch that.
"""

from __future__ import annotations

import pytest

from mainspring import Mainspring, Retry, State
from mainspring.testing import EndlessDrain, adrain, drain, freeze, inline, isolated

app = Mainspring("sqlite:////srv/shop/jobs.db")

mailbox: list[str] = []


@app.task(retry=Retry(attempts=3, delay="1m"))
def send_mail(to: str) -> None:
    if "@" not in to:
        raise ValueError(f"{to!r} is no address")
    mailbox.append(to)


def sign_up(email: str) -> str:
    """A view of your web application."""
    send_mail.enqueue(email)
    send_mail.using(delay="3d").enqueue(email)
    return "201 Created"


@pytest.fixture(autouse=True)
def jobs():
    """One fixture for all your tests, in your conftest.py. Or let the plugin do it, which pytest has loaded already:
    write `mainspring_app = "shop.jobs:app"` into pytest's options, and use the fixture `mainspring_app`."""
    mailbox.clear()
    with isolated(app):
        yield


def test_a_task_is_a_function() -> None:
    """For what a task does, you need nothing at all: call it."""
    send_mail("a@b.c")
    assert mailbox == ["a@b.c"]


def test_what_was_enqueued() -> None:
    """For what a view enqueues, look into the store."""
    assert sign_up("a@b.c") == "201 Created"
    later, now = app.jobs.find(task="send_mail")
    assert (now.state, later.state) == (State.QUEUED, State.SCHEDULED)
    assert now.args == {"to": "a@b.c"}


def test_what_comes_of_it() -> None:
    """`drain` runs what is due, and reports. With `raise_errors` a task's mistake becomes the test's."""
    sign_up("a@b.c")
    report = drain(app, raise_errors=True)
    assert report.completed == 1
    assert [job.args["to"] for job in report.jobs] == mailbox == ["a@b.c"]

    sign_up("nonsense")
    with pytest.raises(ValueError, match="'nonsense' is no address"):
        drain(app, raise_errors=True)


def test_what_comes_later() -> None:
    """Three days pass in no time. The plugin has a fixture for this, too: `mainspring_time`."""
    with freeze() as clock:
        sign_up("a@b.c")
        drain(app)
        clock.travel("3d")
        drain(app)
    assert mailbox == ["a@b.c", "a@b.c"]


def test_what_happens_when_it_goes_wrong_for_good() -> None:
    with freeze() as clock:
        job = send_mail.enqueue("nonsense")
        while drain(app).ran:
            clock.travel("1h")
    assert job.refresh().state is State.DEAD
    assert len(job.attempts) == 3


def test_without_thinking_of_jobs_at_all() -> None:
    """Tests of your views that do not care when jobs run: `inline`."""
    with inline(app):
        sign_up("a@b.c")
        assert mailbox == ["a@b.c"]


async def test_in_async_code() -> None:
    await send_mail.aenqueue("a@b.c")
    assert (await adrain(app)).completed == 1


def test_a_job_that_enqueues_itself_does_not_hang_the_tests() -> None:
    @app.task
    def again() -> None:
        again.enqueue()

    again.enqueue()
    with pytest.raises(EndlessDrain, match="does a job enqueue itself"):
        drain(app, limit=10)
