"""`app.webhooks`: whom the app tells of what happens, and how that goes."""

from __future__ import annotations

import builtins
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from mainspring.admin.door import Door
from mainspring.audit import audited
from mainspring.clock import new_id, now_ms
from mainspring.draft import insert
from mainspring.errors import InvalidOption, WebhookNotFound
from mainspring.job import Job
from mainspring.model.text import quote
from mainspring.twin import Steps, twins
from mainspring.webhooks.telling import DELIVERY, Occurrence, Telling
from mainspring.webhooks.webhook import QUEUE, Webhook

if TYPE_CHECKING:
    from mainspring.app import Mainspring
    from mainspring.worker.settler import Settled

__all__ = ["WebhookView", "Webhooks"]

LOOKED_AT = 500
"""Deliveries."""


@dataclass(frozen=True, slots=True)
class WebhookView:
    """A webhook of the code, and its newest deliveries."""

    name: str
    url: str
    """Without the query, which may hold secrets."""
    on: tuple[str, ...]
    """The events that it tells of."""
    tasks: tuple[str, ...]
    """Of whose jobs; none: of all."""
    queues: tuple[str, ...]
    include_result: bool
    allow_private: bool
    last: tuple[Job[Any], ...]
    """The newest deliveries, newest first: jobs like any other, with a log that says what the receiver answered."""


class Webhooks(Door):
    """`app.webhooks`. They are declared by `app.webhook`, in code: no store knows their secrets, or where they lead."""

    def __init__(self, app: Mainspring) -> None:
        super().__init__(app)
        self._declared: dict[str, Webhook] = {}
        self.telling = Telling(self._declared, self._partition_of)
        """Makes deliveries; for whoever brings about what they tell of."""

    @property
    def declared(self) -> Mapping[str, Webhook]:
        """The webhooks of the code, by name."""
        return MappingProxyType(self._declared)

    def declare(self, webhook: Webhook) -> None:
        """What `app.webhook` does. Raises `InvalidOption` for a name that another one has."""
        known = self._declared.get(webhook.name)
        # A reloaded module declares its webhooks again.
        if known is not None and known.target != webhook.target:
            raise InvalidOption(f'a webhook is named {webhook.name!r} already; give this one its own: name="..."')
        self._declared[webhook.name] = webhook

    @property
    def told(self) -> Callable[[Settled], Settled] | None:
        """What workers do to each settlement, so that others hear of it; None: nobody is to."""
        return self.telling.told if self._declared else None

    def _list(self, last: int = 5) -> Steps[builtins.list[WebhookView]]:
        """The webhooks of the code, by name, each with its `last` deliveries among the newest 500 of all."""
        if type(last) is not int or not 0 <= last <= 100:
            raise InvalidOption(f"last={quote(last)} is not a whole number from 0 to 100")
        found: defaultdict[str, builtins.list[Job[Any]]] = defaultdict(builtins.list)
        if last and self._declared:
            for job in (yield from self._app.jobs._find(limit=LOOKED_AT, task=DELIVERY, queue=QUEUE)):
                found[str(job.args.get("webhook"))].append(job)
        return [_view(self._declared[name], tuple(found[name][:last])) for name in sorted(self._declared)]

    list, alist = twins(_list)

    def _test(self, name: str) -> Steps[Job[Any]]:
        """Deliver an event "ping" to that webhook, as a job; `job.result()` tells how it went. Raises
        `WebhookNotFound`."""
        webhook = self._declared.get(name) if isinstance(name, str) else None
        if webhook is None:
            known = ", ".join(map(quote, sorted(self._declared))) or "none"
            raise WebhookNotFound(f"no webhook is named {quote(name)}; there are: {known}")
        (delivery,) = self.telling.deliveries(Occurrence(new_id(), "ping", now_ms()), [webhook])
        (job,) = yield from audited("webhooks.test", name, {"job": delivery.id}, insert(self._app, [delivery]))
        return job

    test, atest = twins(_test)

    def _partition_of(self, args: Mapping[str, Any]) -> str:
        """Where the code has partitioned the deliveries' queue: the partition of one."""
        partitioning = self._app.partitioning(QUEUE)
        return "" if partitioning is None else partitioning.partition_of(DELIVERY, args)


def _view(webhook: Webhook, last: tuple[Job[Any], ...]) -> WebhookView:
    return WebhookView(
        name=webhook.name,
        url=webhook.url,
        on=tuple(sorted(webhook.events)),
        tasks=tuple(sorted(webhook.tasks)),
        queues=tuple(sorted(webhook.queues)),
        include_result=webhook.include_result,
        allow_private=webhook.allow_private,
        last=last,
    )
