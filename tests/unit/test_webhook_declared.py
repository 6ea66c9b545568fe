"""What a webhook may be declared as, and what an app without any has not."""

from __future__ import annotations

from typing import Any

import pytest

from mainspring import InvalidDuration, InvalidOption, InvalidURL, Mainspring, Retry
from mainspring.store.base import DefineQueue
from mainspring.webhooks.telling import OWN_TASKS
from mainspring.webhooks.webhook import EVENTS, RETRY

SECRET = "a secret of the tests' own"
URL = "https://example.com/jobs"


@pytest.fixture
def app() -> Mainspring:
    return Mainspring("sqlite://")


def test_an_app_without_webhooks_has_no_trace_of_them(app: Mainspring) -> None:
    assert not app.tasks
    assert not app.declared_queues
    assert app.webhooks.told is None


def test_one_with_some_has_tasks_and_a_queue_for_them(app: Mainspring) -> None:
    app.webhook(URL, on=EVENTS, secret=SECRET)
    assert set(app.tasks) == OWN_TASKS
    assert app.declared_queues == (DefineQueue("webhooks", concurrency=5),)
    assert app.webhooks.told is not None
    assert {task.codec.json_schema()["type"] for task in app.tasks.values()} == {"object"}


def test_what_the_code_says_about_their_queue_counts(app: Mainspring) -> None:
    app.queue("webhooks", concurrency=50)
    app.webhook(URL, on="dead", secret=SECRET)
    assert app.declared_queues == (DefineQueue("webhooks", concurrency=50),)


def test_a_receiver_that_is_down_for_most_of_a_day_still_hears_of_it() -> None:
    waits = [RETRY.delay_ms(attempt, None, 0.5) for attempt in range(1, RETRY.attempts)]
    assert len(waits) == 11
    assert 20 <= sum(waits) / 3_600_000 <= 24


def test_a_number_of_attempts_keeps_the_pauses(app: Mainspring) -> None:
    app.webhook(URL, on="dead", secret=SECRET, retry=3)
    retry = app.webhooks.declared["example.com"].retry
    assert retry is not None
    assert (retry.attempts, retry.delay) == (3, RETRY.delay)


def test_a_second_one_at_a_host_needs_a_name(app: Mainspring) -> None:
    app.webhook(URL, on="dead", secret=SECRET)
    app.webhook(URL, on=["dead", "completed"], secret=SECRET)  # reloaded
    with pytest.raises(InvalidOption, match=r"named 'example\.com' already"):
        app.webhook(f"{URL}/others", on="dead", secret=SECRET)
    app.webhook(f"{URL}/others", on="dead", secret=SECRET, name="others")
    assert sorted(app.webhooks.declared) == ["example.com", "others"]


WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "an unknown event": ({"on": "done"}, InvalidOption, "'done' is no event of a webhook; there are: completed"),
    "started": ({"on": ["dead", "started"]}, InvalidOption, "does not tell of 'started'"),
    "no event": ({"on": ()}, InvalidOption, "names no event"),
    "an odd event": ({"on": [None]}, InvalidOption, "None is no event"),
    "a short secret": ({"secret": "hush"}, InvalidOption, "under 16 characters"),
    "a queue": ({"queue": ""}, InvalidOption, "queue"),
    "a task": ({"task": [7]}, InvalidOption, "task"),
    "a name": ({"name": "x\0"}, InvalidOption, "webhook"),
    "no time": ({"timeout": 0}, InvalidOption, "up to 60 s"),
    "too much time": ({"timeout": "2m"}, InvalidOption, "up to 60 s"),
    "a time": ({"timeout": "soon"}, InvalidDuration, "soon"),
    "code": ({"retry": Retry(on=OSError)}, InvalidOption, "stored as data"),
    "attempts": ({"retry": 0}, InvalidOption, "attempts"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_is_refused_when_it_is_declared(app: Mainspring, what: str) -> None:
    options, error, message = WRONG[what]
    with pytest.raises(error, match=message):
        app.webhook(URL, **{"on": "dead", "secret": SECRET} | options)
    assert not app.webhooks.declared


def test_a_private_address_is_refused_when_it_is_declared(app: Mainspring) -> None:
    with pytest.raises(InvalidURL, match="allow_private=True"):
        app.webhook("http://10.0.0.1/", on="dead", secret=SECRET)
    app.webhook("http://10.0.0.1/", on="dead", secret=SECRET, allow_private=True)


@pytest.mark.parametrize("last", [-1, 101, "all", True])
def test_how_many_deliveries_are_listed_is_bounded(app: Mainspring, last: Any) -> None:
    with pytest.raises(InvalidOption, match="last="):
        app.webhooks.list(last)
