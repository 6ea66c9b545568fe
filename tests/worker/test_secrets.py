"""Secret arguments are not in what runs leave behind, whatever they say and however they end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from mainspring import (
    Bury,
    Cancel,
    Context,
    HandBack,
    Job,
    Mainspring,
    RateLimited,
    RetryAfter,
    Secret,
    Snooze,
    chain,
    current,
    previous,
)
from mainspring.testing import drain

from .program import program
from .scene import until, working

CARD = "4111 'x' 1111"


def told(app: Mainspring, job: Job[Any]) -> str:
    """All that is shown of it, but for its result and output."""
    record = app.jobs.get(job.id).record
    lines = [line.text for line in app.jobs.log(job.id)]
    return repr([record.error, record.reason, record.history, record.progress_text, lines, job.refresh().shown_args()])


class Strict(BaseModel):
    number: int


def from_cause(error: Exception) -> Exception:
    error.__cause__ = OSError(f"no line for {CARD}")
    return error


ENDINGS: dict[str, Callable[[], Exception]] = {
    "raise": lambda: from_cause(ValueError(CARD, {"card": CARD})),
    "bury": lambda: Bury(f"bad {CARD}"),
    "cancel": lambda: Cancel(f"bad {CARD}"),
    "snooze": lambda: Snooze(60, f"not yet {CARD}"),
    "hand back": lambda: HandBack(f"later {CARD}"),
    "rate limited": lambda: RateLimited(60, f"too many {CARD}"),
    "retry after": lambda: from_cause(RetryAfter(60)),
}


@pytest.mark.parametrize("how", ENDINGS)
async def test_whatever_a_run_says_and_however_it_ends(app: Mainspring, how: str) -> None:
    @app.task(retry=1)
    async def charge(order: int, card: Secret[str]) -> None:
        current().progress(50, f"charging {card}")
        current().log(f"card {card!r}")
        current().log(card)
        raise ENDINGS[how]()

    job = await charge.aenqueue(7, CARD)
    async with working(app):
        await until(lambda: job.refresh().reason or job.error)
    shown = told(app, job)
    assert "4111" not in shown
    assert "[secret]" in shown
    assert "card '[secret]'" in shown or 'card "[secret]"' in shown
    assert job.args["card"] == CARD


def test_a_validation_error_within_the_task_does_not_repeat_it(app: Mainspring) -> None:
    @app.task(retry=1)
    def charge(card: Secret[str]) -> None:
        Strict(number=card)  # type: ignore[arg-type]

    job = charge.enqueue(CARD)
    drain(app)
    assert "input_value=" in told(app, job)
    assert "4111" not in told(app, job)


def test_a_result_that_cannot_be_stored_does_not_repeat_it_and_one_that_can_is_data(app: Mainspring) -> None:
    @app.task(retry=1)
    def swapped(card: Secret[str]) -> int:
        return card  # type: ignore[return-value]

    @app.task
    def kept(ctx: Context, card: Secret[str]) -> str:
        ctx.output(card)
        return card

    bad, good = swapped.enqueue(CARD), kept.enqueue(CARD)
    drain(app)
    assert "cannot be stored" in told(app, bad)
    assert "4111" not in told(app, bad)
    assert (good.result(), app.jobs.get(good.id).output) == (CARD, CARD)


def test_items_of_a_chunk_and_results_of_parents_are_hidden(app: Mainspring) -> None:
    @app.task
    def find(n: int) -> str:
        return f"hunter{n}"

    @app.task(retry=1)
    def login(password: Secret[str]) -> None:
        raise ValueError(f"no {password}")

    chunk = login.map(["hunter1", "hunter2"], chunk=2).enqueue()
    flow = chain(find.job(7), login.job(previous)).enqueue()
    drain(app)
    for job in (*chunk.jobs(), *flow.jobs()):
        assert "hunter" not in told(app, job)
    assert any("no [secret]" in told(app, job) for job in flow.jobs())


def test_observers_and_webhooks_hear_what_is_stored(app: Mainspring) -> None:
    heard: list[str] = []

    @app.on("dead")
    def hear(event: Any) -> None:
        heard.append(f"{event.error.message} {event.error.traceback}")

    app.webhook("https://example.com/x", on="dead", secret="long enough to sign with")

    @app.task(retry=1)
    def login(password: Secret[str]) -> None:
        raise ValueError(f"no {password}")

    login.enqueue("hunter2")
    drain(app)
    (delivery,) = app.jobs.find(task="mainspring.webhook")
    assert "no [secret]" in heard[0]
    assert "no [secret]" in str(delivery.args)
    assert "hunter2" not in heard[0] + str(delivery.args)


async def test_the_same_in_a_process(tmp_path: Path) -> None:
    with program(tmp_path) as jobs:
        async with working(jobs.app):
            made = [await jobs.charge.aenqueue(how, CARD) for how in ("raise", "bury", "later", "return")]
            await until(lambda: all(job.refresh().reason or job.error for job in made))
        for job in made:
            shown = told(jobs.app, job)
            assert "4111" not in shown
            assert "charging [secret]" in shown
            assert shown.count("[secret]") >= 4


def test_a_partition_is_named_by_a_digest_of_a_secret(app: Mainspring) -> None:
    app.queue("default", partition="account")

    @app.task
    def pay(account: Secret[str]) -> None: ...

    one, other = pay.enqueue("hunter2"), pay.enqueue("hunter2")
    assert one.partition == other.partition != pay.enqueue("hunter3").partition
    assert "hunter2" not in one.partition
