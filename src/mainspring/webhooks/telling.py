"""Turns what happens to jobs and flows into deliveries: jobs that are stored with what they tell of, or not at all.

    a run's end                  the worker's settler decides it; deliveries are follow-ups of its settlement
    an operator cancels          a *witness* is tied to each job by an edge before that; it tells when it sees the end
    a parent's bad end cancels   the same, tied when the job is enqueued
    a flow's end                 a witness that is one of the flow's callbacks, but no job of the flow

So nothing is told of what was rolled back, and nothing is left out because somebody died in between. Ids are made from
what is told: whoever tells of the same thing a second time makes the same job, which is stored once.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID, uuid5

from mainspring.clock import moment
from mainspring.model.job import Claim, Edge, JobRecord, NewJob, Policy
from mainspring.model.options import JobOptions
from mainspring.model.states import State
from mainspring.store.base import Callback, NewFlow
from mainspring.webhooks.webhook import FLOW_EVENTS, QUEUE, Webhook
from mainspring.worker.observers import event_name
from mainspring.worker.settler import Settled

__all__ = [
    "DELIVERY",
    "FLOW_WITNESS",
    "OWN_TASKS",
    "WITNESS",
    "Occurrence",
    "Telling",
    "flow_witness",
    "witness",
]

logger = logging.getLogger("mainspring.worker")

DELIVERY = "mainspring.webhook"
WITNESS = "mainspring.webhook.cancelled"
FLOW_WITNESS = "mainspring.webhook.flow"
OWN_TASKS = frozenset({DELIVERY, WITNESS, FLOW_WITNESS})
"""Of what happens to their jobs no webhook tells."""

RESULT_BYTES = 256 * 1024
"""A longer result is left out of a delivery."""

_IDS = UUID("9b0b6b5e-6f0e-5f0a-8d41-6a3c2f9f7c11")


@dataclass(frozen=True, slots=True)
class Occurrence:
    """Something that happened."""

    id: str
    """The same whoever tells of it, and how often."""
    event: str
    at: int
    job: Mapping[str, Any] | None = None
    """As JSON has it, without the result."""
    flow: Mapping[str, Any] | None = None
    result: str | None = None
    """JSON text."""

    def document(self, with_result: bool) -> dict[str, Any]:
        """What a receiver gets."""
        job = self.job
        if job is not None and with_result and self.event == "completed":
            fits = self.result is not None and len(self.result) <= RESULT_BYTES
            result = {"result": json.loads(self.result or "null") if fits else None}
            job = {**job, **result, **({} if fits else {"result_left_out": True})}
        return {"id": self.id, "event": self.event, "time": _time(self.at), "job": job, "flow": self.flow}


class Telling:
    """Makes the deliveries of an app's webhooks, which are looked at anew each time."""

    def __init__(
        self, webhooks: Mapping[str, Webhook], partition_of: Callable[[Mapping[str, Any]], str] = lambda args: ""
    ) -> None:
        self._webhooks = webhooks
        self._partition_of = partition_of

    def deliveries(self, seen: Occurrence, wanted: Iterable[Webhook]) -> list[NewJob]:
        """The jobs that tell these webhooks' receivers of it."""
        made = []
        for webhook in wanted:
            args = {"webhook": webhook.name, "event": seen.document(webhook.include_result)}
            made.append(
                NewJob(
                    _id(seen.id, webhook.name),
                    DELIVERY,
                    QUEUE,
                    json.dumps(args, separators=(",", ":")),
                    options=None if webhook.retry is None else JobOptions(retry=webhook.retry).to_text(),
                    partition=self._partition_of(args),
                )
            )
        return made

    # --- what workers tell ---

    def told(self, settled: Settled) -> Settled:
        """With the deliveries about it, and the witnesses of jobs that it leaves behind, among its follow-ups. Never
        raises."""
        try:
            added = self._added(settled)
        except Exception:
            # How the queue of deliveries is partitioned may be foreign code. The job's end is worth more than its news.
            logger.exception("job %s: webhooks cannot be told of it", settled.claim.id)
            return settled
        if not added:
            return settled
        settlement = settled.settlement
        return settled._replace(settlement=replace(settlement, follow_ups=(*settlement.follow_ups, *added)))

    def _added(self, settled: Settled) -> list[NewJob]:
        claim, left = settled.claim, settled.settlement.follow_ups
        if claim.task in OWN_TASKS:
            return []
        added = self.witnesses(left) if left else []
        name = event_name(settled)
        wanted = self._wanted(name, claim.task, claim.queue)
        return added + self.deliveries(_of_run(name, settled), wanted) if wanted else added

    def _wanted(self, event: str, task: str, queue: str) -> list[Webhook]:
        return [webhook for webhook in self._webhooks.values() if webhook.wants(event, task, queue)]

    # --- what nobody's run brings about ---

    def witnesses(self, new: Iterable[NewJob], flows: Sequence[NewFlow] = ()) -> list[NewJob]:
        """For the jobs among these that others' ends can cancel, if anybody is to be told."""
        if not self.tells_of_any_cancelling:
            return []
        called = {callback.job for flow in flows for callback in flow.callbacks}
        return [
            witness(job.id, 0)
            for job in new
            if (job.parents or job.id in called) and self.tells_of_cancelling(job.task, job.queue)
        ]

    def tells_of_cancelling(self, task: str, queue: str) -> bool:
        """Whether anybody wants to know when such a job is cancelled."""
        return task not in OWN_TASKS and bool(self._wanted("cancelled", task, queue))

    @property
    def tells_of_any_cancelling(self) -> bool:
        return any("cancelled" in webhook.events for webhook in self._webhooks.values())

    def of_cancelled(self, record: JobRecord) -> list[NewJob]:
        """The deliveries about a job that was cancelled while it waited."""
        wanted = self._wanted("cancelled", record.task, record.queue)
        at = record.finished_at or 0
        job = _job(record, record.state, record.attempt, record.reason)
        seen = Occurrence(_id(record.id, record.created_at, record.lease, at), "cancelled", at, job, _flow(record.flow))
        return self.deliveries(seen, wanted)

    def with_witnesses(self, flows: Sequence[NewFlow]) -> tuple[list[NewFlow], list[NewJob]]:
        """These flows, and the jobs that will see them end, if anybody is to hear of it. Not of parts of flows."""
        if not any(webhook.events & FLOW_EVENTS for webhook in self._webhooks.values()):
            return list(flows), []
        watched: list[NewFlow] = []
        added: list[NewJob] = []
        for flow in flows:
            if flow.parent is None:
                args = json.dumps({"flow": flow.id, "name": flow.name})
                seer = NewJob(flow_witness(flow.id), FLOW_WITNESS, QUEUE, args)
                added.append(seer)
                flow = replace(flow, callbacks=(*flow.callbacks, Callback(seer.id, Policy.RUN)))
            watched.append(flow)
        return watched, added

    def of_flow(self, id: str, name: str, states: Mapping[State, int], witness: str, at: int) -> list[NewJob]:
        """The deliveries about a flow all of whose jobs have ended like that."""
        how = "completed" if set(states) <= {State.COMPLETED} else "failed"
        event = f"flow.{how}"
        flow = {"id": id, "name": name, "state": how, "jobs": {str(state): count for state, count in states.items()}}
        # Tasks and queues are of jobs: a flow has none.
        wanted = [each for each in self._webhooks.values() if event in each.events]
        return self.deliveries(Occurrence(_id(witness, event), event, at, None, flow), wanted)


def witness(job: str, lease: int, again: str = "") -> NewJob:
    """A job that waits for another one, whose lease is that now, to see whether it ends cancelled without a run."""
    args = json.dumps({"job": job, "lease": lease})
    return NewJob(_id("witness", job, lease, again), WITNESS, QUEUE, args, parents=(Edge(job, Policy.RUN),))


def flow_witness(flow: str) -> str:
    """The id of the job that sees that flow end, where there is one."""
    return _id("flow", flow)


def _of_run(name: str, settled: Settled) -> Occurrence:
    claim, outcome, settlement = settled.claim, settled.outcome, settled.settlement
    job = _job(claim, settlement.state, claim.attempt, settlement.reason)
    if outcome.error is not None:
        job["error"] = {"type": outcome.error.type, "message": outcome.error.message}
    id = _id(claim.id, claim.created_at, claim.lease, name)
    return Occurrence(id, name, settled.at, job, _flow(claim.flow), settlement.result)


def _job(job: Claim | JobRecord, state: State, attempt: int, reason: str | None) -> dict[str, Any]:
    return {
        "id": job.id,
        "task": job.task,
        "queue": job.queue,
        "state": str(state),
        "attempt": attempt,
        "created_at": _time(job.created_at),
        "reason": reason,
        "error": None,
    }


def _flow(id: str | None) -> dict[str, Any] | None:
    return None if id is None else {"id": id}


def _time(ms: int) -> str:
    return moment(ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _id(*parts: object) -> str:
    return str(uuid5(_IDS, json.dumps([str(part) for part in parts])))
