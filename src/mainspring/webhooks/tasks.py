"""The tasks whose jobs deliver, and those that see what no run brings about."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from mainspring.clock import now_ms
from mainspring.errors import Bury, DeliveryFailed, JobNotFound, RetryAfter, Snooze
from mainspring.model import history
from mainspring.model.job import NewJob
from mainspring.model.options import TaskOptions
from mainspring.model.outcome import Verdict
from mainspring.model.states import State
from mainspring.model.text import quote
from mainspring.webhooks.posting import Answer, Forbidden, post
from mainspring.webhooks.signature import EVENT_ID, SIGNATURE, sign
from mainspring.webhooks.telling import DELIVERY, FLOW_WITNESS, WITNESS
from mainspring.webhooks.webhook import QUEUE, RETRY, Webhook
from mainspring.worker.context import Context

if TYPE_CHECKING:
    from mainspring.app import Mainspring
    from mainspring.draft import JobDraft

__all__ = ["OwnTask", "own_tasks"]

LONGEST_ASKED_FOR = 24 * 3600.0
"""Seconds. A receiver that asks for a longer pause gets this one."""
WHILE_HANGING = (30.0, 90.0)
"""Seconds until a delivery is looked at again that had to let another one go first."""


@dataclass(frozen=True, slots=True)
class OwnTask:
    """A task that an app with webhooks has besides its own."""

    name: str
    function: Callable[..., Any]
    options: TaskOptions


def own_tasks(app: Mainspring, drafted: Callable[[NewJob], JobDraft[Any]]) -> list[OwnTask]:
    """The tasks of an app that declares webhooks."""
    telling, declared = app.webhooks.telling, app.webhooks.declared
    hanging = Hanging()

    def deliver(ctx: Context, webhook: str, event: dict[str, Any]) -> dict[str, Any]:
        known = declared.get(webhook)
        if known is None:
            raise DeliveryFailed(
                f"no webhook is named {quote(webhook)} in the code of this worker; it was taken out, or is to come"
            )
        with hanging.turn(known.name):
            return _deliver(ctx, known, event)

    def see_cancelled(ctx: Context, job: str, lease: int) -> None:
        try:
            record = app.jobs.get(job).record
        except JobNotFound:
            return
        if record.state is not State.CANCELLED:
            return
        if record.lease != lease and _cancelled_by_its_run(record.history):
            return  # the worker that settled it has told it
        ctx.spawn(*map(drafted, telling.of_cancelled(record)))

    def see_flow(ctx: Context, flow: str, name: str) -> None:
        states = Counter(parent.state for parent in ctx.parents if parent.state is not None)
        if states:
            ctx.spawn(*map(drafted, telling.of_flow(flow, name, states, ctx.job.id, now_ms())))

    at_ease = TaskOptions(queue=QUEUE, retry=RETRY)
    return [
        OwnTask(DELIVERY, deliver, at_ease),
        OwnTask(WITNESS, see_cancelled, TaskOptions(queue=QUEUE)),
        OwnTask(FLOW_WITNESS, see_flow, TaskOptions(queue=QUEUE)),
    ]


def _cancelled_by_its_run(attempts: str) -> bool:
    last = history.parse(attempts)[-1:]
    return bool(last) and last[0].verdict is Verdict.CANCELLED


class Hanging:
    """Which receivers did not answer in time lately: of those one delivery at a time is tried, so that they do not hold
    up the others'. Each worker knows it of itself alone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._names: set[str] = set()
        self._under_way: Counter[str] = Counter()

    @contextmanager
    def turn(self, name: str) -> Iterator[None]:
        """One delivery to it. Raises `Snooze` where there is one already, and it hangs."""
        with self._lock:
            if name in self._names and self._under_way[name]:
                raise Snooze(random.uniform(*WHILE_HANGING), "its receiver hangs, and has one delivery at a time")
            self._under_way[name] += 1
        try:
            yield
        except DeliveryFailed as failure:
            self._heard(name, hangs=isinstance(failure.__cause__, TimeoutError))
            raise
        except BaseException:
            self._heard(name, hangs=False)
            raise
        self._heard(name, hangs=False)

    def _heard(self, name: str, *, hangs: bool) -> None:
        with self._lock:
            self._under_way[name] -= 1
            (self._names.add if hangs else self._names.discard)(name)


# --- one delivery ----------------------------------------------------------------------------------------------------


def _deliver(ctx: Context, webhook: Webhook, event: dict[str, Any]) -> dict[str, Any]:
    body = json.dumps(event, separators=(",", ":")).encode()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"Mainspring/{version('mainspring')}",
        EVENT_ID: str(event.get("id", "")),
        SIGNATURE: sign(body, webhook.secrets, now_ms() // 1000),
    }
    try:
        answer = post(webhook.target, body, headers, timeout=webhook.timeout, allow_private=webhook.allow_private)
    except Forbidden as why:
        raise Bury(str(why)) from None
    said = f": {answer.excerpt}" if answer.excerpt else ""
    ctx.log(f"{answer.address} answered {answer.status} after {answer.seconds:.3f} s{said}")
    if not 200 <= answer.status < 300:
        raise _refusal(webhook, answer)
    return {"status": answer.status, "seconds": round(answer.seconds, 3)}


def _refusal(webhook: Webhook, answer: Answer) -> Exception:
    """What becomes of a delivery that was not taken."""
    if answer.status == 410:
        return Bury(f"{webhook.target.authority} answered 410 Gone")
    if 300 <= answer.status < 400:
        return DeliveryFailed(
            f"{webhook.target.authority} answered {answer.status}: redirects are not followed; declare where it is"
        )
    failed = DeliveryFailed(f"{webhook.target.authority} answered {answer.status}")
    if answer.status in (429, 503) and (pause := _asked_for(answer.retry_after)) is not None:
        later = RetryAfter(pause, f"{webhook.target.authority} answered {answer.status} and asks for {pause:g} s")
        later.__cause__ = failed
        return later
    return failed


def _asked_for(retry_after: str | None) -> float | None:
    """Seconds, from a Retry-After header: a number of them, or a date (RFC 9110 §10.2.3)."""
    if retry_after is None:
        return None
    text = retry_after.strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return min(float(text), LONGEST_ASKED_FOR)
    try:
        seconds = parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return min(max(seconds, 0.0), LONGEST_ASKED_FOR)
