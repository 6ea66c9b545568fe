"""Enqueuing through an outbox: into a user's own database, by his own transaction, for a store that is elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from mainspring.draft import JobDraft, followed
from mainspring.errors import InvalidOption
from mainspring.job import Job
from mainspring.model.job import NewJob
from mainspring.model.text import quote
from mainspring.store.base import InsertRequest, in_portions, portions
from mainspring.twin import Steps, Within, twins

if TYPE_CHECKING:
    from mainspring.app import Mainspring

__all__ = ["Outbox"]

R = TypeVar("R")

PUT_LIMIT = 1000
"""How many jobs are written in one statement."""


class Outbox:
    """The outbox beside a transaction of yours, made by `app.outbox(connection)`:

        with psycopg.connect(...) as connection:
            connection.execute("INSERT INTO orders ...")
            app.outbox(connection).enqueue(send_receipt.job(order.id))

    `connection` is whatever `tx=` takes, and has a transaction open or begins one by itself. Its database needs a table
    for that, which `mainspring migrate --outbox URL` makes, and workers whose app is told of it, by
    `Mainspring("redis://…", outbox="postgresql://…")` or MAINSPRING_OUTBOX.
    """

    def __init__(self, app: Mainspring, connection: object) -> None:
        self._app = app
        self._connection = connection

    def _enqueue(self, job: JobDraft[R]) -> Steps[Job[R]]:
        """Write a job into the outbox; when the transaction commits, it will be in the store, once.

        Its keys are looked at when it gets there: the job that this gives may never be, because another one has its
        key. A delay counts from here. Raises `UnusableTransaction`, `SchemaMismatch` where there is no outbox,
        `StoreError` where the database fails.
        """
        (written,) = yield from self._enqueue_many((job,))
        return written

    enqueue, aenqueue = twins(_enqueue)

    def _enqueue_many(self, drafts: Iterable[JobDraft[R]]) -> Steps[list[Job[R]]]:
        """Write many jobs, all in this one transaction. As `enqueue`."""
        return (yield from followed(self._app, [_alone(draft) for draft in drafts], self._put))

    enqueue_many, aenqueue_many = twins(_enqueue_many)

    def _put(self, new: Sequence[NewJob]) -> Steps[list[Job[Any]]]:
        for piece in in_portions(new, PUT_LIMIT, lambda job: portions(job.args)):
            yield Within(self._connection, InsertRequest(piece), self._app._outboxes)
        return [Job(self._app, job, on_its_way=True) for job in new]


def _alone(draft: object) -> Any:
    if isinstance(draft, JobDraft):
        return draft.alone()
    raise InvalidOption(
        f"{quote(draft)} cannot go through an outbox: give jobs, made with task.job(...); in place of a flow, one that "
        "enqueues it"
    )
