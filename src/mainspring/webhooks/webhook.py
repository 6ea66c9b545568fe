"""A webhook as the code declares it: who is told of what, and how."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from mainspring.errors import InvalidOption
from mainspring.model.backoff import Retry
from mainspring.model.durations import Duration, to_ms
from mainspring.model.options import check_name
from mainspring.model.text import quote
from mainspring.webhooks.signature import Secrets, check_secrets
from mainspring.webhooks.target import Target

__all__ = ["CONCURRENCY", "EVENTS", "FLOW_EVENTS", "QUEUE", "RETRY", "TIMEOUT", "Webhook", "WebhookEvent", "declare"]

WebhookEvent = Literal[
    "completed",
    "dead",
    "cancelled",
    "retried",
    "snoozed",
    "returned",
    "crashed",
    "parked",
    "flow.completed",
    "flow.failed",
]
"""What a webhook can tell of. Those of jobs are `mainspring.Event`s, without "started". flow.completed: all jobs of a
flow have completed · flow.failed: all have ended, and not all of them well."""

EVENTS: tuple[WebhookEvent, ...] = get_args(WebhookEvent)
FLOW_EVENTS = frozenset({"flow.completed", "flow.failed"})

QUEUE = "webhooks"
"""Where deliveries wait."""
RETRY = Retry(
    attempts=12,
    delay=("10s", "1m", "5m", "15m", "30m", "1h", "2h", "3h", "4h", "6h", "6h"),
    max_delay="6h",
    jitter=False,
)
"""Over some 23 hours: a receiver that is down for a day's work still hears of everything."""
TIMEOUT = "10s"
MOST_SECONDS = 60.0
CONCURRENCY = 5
"""How many deliveries are under way at once, unless the code says otherwise about the queue: receivers that hang must
not take all of a worker."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """Made by `app.webhook`."""

    name: str
    target: Target
    events: frozenset[str]
    secrets: tuple[str, ...] = field(repr=False)
    tasks: frozenset[str] = frozenset()
    """Those of whose jobs it tells; none: of all."""
    queues: frozenset[str] = frozenset()
    include_result: bool = False
    allow_private: bool = False
    timeout: float = 10.0
    retry: Retry | None = None

    @property
    def url(self) -> str:
        """Where it delivers to, without the query, which may hold secrets."""
        return str(self.target)

    def wants(self, event: str, task: str, queue: str) -> bool:
        """Whether it tells of that, when it happens to such a job."""
        return (
            event in self.events
            and (not self.tasks or task in self.tasks)
            and (not self.queues or queue in self.queues)
        )


def declare(
    url: str,
    *,
    on: WebhookEvent | Iterable[WebhookEvent],
    secret: Secrets,
    name: str | None,
    tasks: Iterable[str],
    queues: Iterable[str],
    include_result: bool,
    allow_private: bool,
    timeout: Duration,
    retry: Retry | int | None,
) -> Webhook:
    """The webhook, all of it checked. Raises `InvalidOption`, `InvalidURL`, `InvalidDuration`."""
    target = Target.parse(url, allow_private=allow_private)
    seconds = to_ms(timeout) / 1000
    if not 0 < seconds <= MOST_SECONDS:
        raise InvalidOption(f"timeout={quote(timeout)}: a delivery may take up to {MOST_SECONDS:g} s, and some time")
    if retry is not None and not isinstance(retry, Retry):
        retry = Retry(retry, RETRY.delay, max_delay=RETRY.max_delay, jitter=False)
    if retry is not None:
        retry.to_json()  # raises for rules that hold code: they are stored with each delivery
    return Webhook(
        name=check_name("webhook", target.host if name is None else name),
        target=target,
        events=_events(on),
        secrets=check_secrets(secret),
        tasks=frozenset(check_name("task", each) for each in tasks),
        queues=frozenset(check_name("queue", each) for each in queues),
        include_result=include_result,
        allow_private=allow_private,
        timeout=seconds,
        retry=retry,
    )


def _events(on: Any) -> frozenset[str]:
    given = (on,) if isinstance(on, str) else tuple(on)
    for name in given:
        if name == "started":
            raise InvalidOption(
                "a webhook does not tell of 'started': nothing is stored when a run begins, so that it could be lost"
            )
        if name not in EVENTS:
            raise InvalidOption(f"on={quote(name)} is no event of a webhook; there are: {', '.join(EVENTS)}")
    if not given:
        raise InvalidOption(f"on= names no event; there are: {', '.join(EVENTS)}")
    return frozenset(given)
