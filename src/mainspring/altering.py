"""Changes jobs that are there, many at a time, and lets those know of it who are to be told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mainspring.audit import audited, selection
from mainspring.clock import moment, new_id
from mainspring.errors import UnknownParent
from mainspring.model.job import JobRecord, NewJob
from mainspring.model.states import LIVE, State
from mainspring.store.base import AlterReply, AlterRequest, ConfigureRequest, Filter, FindRequest, InsertRequest, Verb
from mainspring.twin import Steps, ask
from mainspring.webhooks.telling import OWN_TASKS, WITNESS, witness

if TYPE_CHECKING:
    from mainspring.app import Mainspring

__all__ = ["Batches", "alter", "batches", "cancel", "reason_of", "told"]

CANCELLED_AT_ONCE = 500
"""Of how many jobs, where webhooks are to hear of it."""


_ACTIONS = {
    Verb.CANCEL: "jobs.cancel",
    Verb.REVIVE: "jobs.retry",
    Verb.RESCHEDULE: "jobs.reschedule",
    Verb.REPRIORITISE: "jobs.reprioritise",
    Verb.DELETE: "jobs.delete",
}
"""The verbs as the audit log has them."""


def alter(verb: Verb, where: Filter, value: int | None = None, reason: str | None = None) -> Steps[int]:
    """Do `verb` to all jobs that fit, in bounded batches; gives how many changed."""
    action, target, detail = told(verb, where, value, reason)
    return (yield from audited(action, target, detail, _all(None, verb, where, value, reason), int))


def cancel(app: Mainspring, where: Filter, why: str) -> Steps[int]:
    """Cancel all jobs that fit, and see to it that the app's webhooks hear of it; gives how many."""
    reason = reason_of(why)
    action, target, detail = told(Verb.CANCEL, where, None, reason)
    return (yield from audited(action, target, detail, _all(app, Verb.CANCEL, where, None, reason), int))


def told(verb: Verb, where: Filter, value: int | None, reason: str | None) -> tuple[str, str, dict[str, Any]]:
    """Action, target and detail, as the audit log has them."""
    target, detail = selection(where)
    detail |= {"reason": reason}
    if verb is Verb.RESCHEDULE:
        detail["run_at"] = None if value is None else moment(value).isoformat(timespec="milliseconds")
    elif verb is Verb.REPRIORITISE:
        detail["priority"] = value
    return _ACTIONS[verb], target, detail


Batches = Callable[[str | None], Steps[AlterReply]]
"""Takes where the last batch ended, None for the first one; does the next one."""


def batches(
    app: Mainspring | None, verb: Verb, where: Filter, value: int | None = None, reason: str | None = None
) -> Steps[Batches]:
    """How `verb` is done to all jobs that fit, batch by batch. With an app its webhooks hear of what is cancelled."""
    tells = (yield from _who_tells(app)) if verb is Verb.CANCEL and app is not None else None
    if tells is None:
        return lambda cursor: ask(AlterRequest(verb, where, value, reason, cursor=cursor))
    return lambda cursor: _cancel_watched(tells, where, reason, cursor)


def _who_tells(app: Mainspring) -> Steps[Callable[[str, str], bool] | None]:
    """Of which tasks and queues somebody may want to hear when a job is cancelled; None: of none."""
    telling = app.webhooks.telling
    if telling.tells_of_any_cancelling:
        return telling.tells_of_cancelling
    if not app.tasks:
        # The store alone is known here, and not its code; the workers that have webhooks say so.
        workers = (yield from ask(ConfigureRequest(read=frozenset({"workers"})))).workers
        if any(WITNESS in worker.tasks for worker in workers):
            return lambda task, _: task not in OWN_TASKS
    return None


def _all(app: Mainspring | None, verb: Verb, where: Filter, value: int | None, reason: str | None) -> Steps[int]:
    some = yield from batches(app, verb, where, value, reason)
    count, cursor = 0, None
    while True:
        reply = yield from some(cursor)
        count += reply.count
        cursor = reply.cursor
        if cursor is None:
            return count


def _cancel_watched(
    tells: Callable[[str, str], bool], where: Filter, reason: str | None, cursor: str | None
) -> Steps[AlterReply]:
    states = LIVE.intersection(where.states or LIVE)
    if not states:
        return AlterReply(0, None)
    page = yield from ask(FindRequest(replace(where, states=tuple(sorted(states))), CANCELLED_AT_ONCE, cursor))
    yield from _watch_ends(tells, page.jobs)
    count = 0
    if page.jobs:
        ids = tuple(job.id for job in page.jobs)
        count = yield from _all(None, Verb.CANCEL, replace(where, ids=ids), None, reason)
    return AlterReply(count, page.cursor)


def _watch_ends(tells: Callable[[str, str], bool], jobs: Sequence[JobRecord]) -> Steps[None]:
    """Let a witness wait for each of these jobs before anybody cancels it: whatever dies then, it will tell."""
    wanted = [job for job in jobs if tells(job.task, job.queue)]
    # One that runs ends with its present lease if its run is cancelled, which its worker tells itself.
    leases = {job.id: job.lease - (job.state is State.RUNNING) for job in wanted}
    there = yield from _insert_witnesses({id: witness(id, lease) for id, lease in leases.items()})
    if there:
        # It waits still, or it has seen an end that was taken back since; then it takes another one.
        page = yield from ask(FindRequest(Filter(ids=tuple(there.values()), states=(State.BLOCKED,)), len(there)))
        waiting = {job.id for job in page.jobs}
        used = [id for id, one in there.items() if one not in waiting]
        yield from _insert_witnesses({id: witness(id, leases[id], new_id()) for id in used})


def _insert_witnesses(witnesses: Mapping[str, NewJob]) -> Steps[dict[str, str]]:
    """Store them, by the jobs that they watch; gives the ids of those that were there already, likewise."""
    left = dict(witnesses)
    while left:
        try:
            replies = yield from ask(InsertRequest(tuple(left.values())))
        except UnknownParent as gone:
            del left[gone.parent_id]  # it was deleted just now
        else:
            return {id: reply.id for id, reply in zip(left, replies, strict=True) if reply.existed}
    return {}


def reason_of(why: str) -> str:
    """As the reason of a cancelled job is stored."""
    return f"cancelled: {why}" if why else "cancelled"
