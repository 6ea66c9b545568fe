"""The page of one job: everything about it, and what can be done to it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from types import MappingProxyType
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.responses import PlainTextResponse, Response

from mainspring.errors import FlowNotFound, JobNotFound
from mainspring.job import Attempt, Job
from mainspring.model.states import FINAL, State
from mainspring.store.base import Verb
from mainspring.web.api.enqueuing import is_own
from mainspring.web.identity import Role
from mainspring.web.pages.graph import Graph, graph_of
from mainspring.web.pages.reads import Reads, reads_of
from mainspring.web.pages.rendering import Page, page_of
from mainspring.web.pages.text import BLOCK, pretty, short_id
from mainspring.web.site import may

__all__ = ["Event", "Shown", "Try", "router", "timeline", "tries"]

GRAPH_MOST = 400
"""Of a flow with more jobs its own page has the graph."""

router = APIRouter(dependencies=[may(Role.VIEWER)])
AtPage = Annotated[Page, Depends(page_of)]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a job, or will."""

    at: datetime
    what: str
    kind: str
    """The state whose shape it is drawn with."""
    passed: float | None = None
    """How many seconds after the one before."""


@dataclass(frozen=True, slots=True)
class Try:
    """One run, and how it ended."""

    attempt: Attempt
    took: float
    said: str
    traceback: str
    part: str
    """As the whole text is asked for."""
    is_cut: bool


@dataclass(frozen=True, slots=True)
class Shown:
    """A text of a job, and whether all of it is on the page."""

    text: str
    part: str
    length: int

    @property
    def is_cut(self) -> bool:
        """Whether there is more than is shown."""
        return self.length > BLOCK


def timeline(job: Job[Any], names: Mapping[str, str] = MappingProxyType({})) -> tuple[Event, ...]:
    """What happened and when, oldest first; `names` are those of the workers by their ids."""

    def on(worker: str | None) -> str:
        return "?" if worker is None else names.get(worker, short_id(worker))

    events = [Event(job.created_at, "enqueued", "queued")]
    for attempt in job.attempts:
        number = attempt.number
        events.append(Event(attempt.started_at, f"try {number} began on {on(attempt.worker)}", "running"))
        events.append(Event(attempt.ended_at, f"try {number} {attempt.verdict}{_because(attempt)}", _kind(attempt)))
    if job.state is State.RUNNING and job.started_at is not None:
        events.append(Event(job.started_at, f"try {job.attempt} began on {on(job.worker)}", "running"))
    if job.state is State.SCHEDULED:
        events.append(Event(job.run_at, "is to run", "scheduled"))
    elif job.state is State.QUEUED and job.run_at > job.created_at:
        events.append(Event(job.run_at, "waits for a worker", "queued"))
    if job.finished_at is not None:
        events.append(Event(job.finished_at, str(job.state), job.state.value))
    told = [events[0]]
    for before, event in pairwise(events):
        # In the order in which it happened; clocks of several machines may say otherwise.
        told.append(Event(event.at, event.what, event.kind, max(0.0, (event.at - before.at).total_seconds())))
    return tuple(told)


def _kind(attempt: Attempt) -> str:
    return {"completed": "completed", "failed": "dead", "lost": "dead", "buried": "dead", "cancelled": "cancelled"}.get(
        attempt.verdict.value, "scheduled"
    )


def _because(attempt: Attempt) -> str:
    """In a word: all that the error says stands with the try."""
    return f": {attempt.error.type}" if attempt.error and attempt.error.type else ""


def _told(attempt: Attempt) -> str:
    error = attempt.error
    return f"{error.type}: {error.message.partition(chr(10))[0]}" if error else ""


def tries(job: Job[Any]) -> tuple[Try, ...]:
    """The runs so far, newest first."""
    told = []
    for index, attempt in enumerate(job.attempts):
        trace = attempt.error.traceback if attempt.error else ""
        took = max(0.0, (attempt.ended_at - attempt.started_at).total_seconds())
        told.append(Try(attempt, took, _told(attempt), trace, f"try-{index}", len(trace) > BLOCK))
    return tuple(reversed(told))


def parts(job: Job[Any], args: Any) -> dict[str, str]:
    """The texts of a job by their names, whole."""
    record = job.record
    texts = {"args": pretty(args)}
    if record.result is not None:
        texts["result"] = pretty(json.loads(record.result))
    if record.checkpoint is not None:
        texts["checkpoint"] = pretty(job.checkpoint)
    if record.options is not None:
        texts["options"] = pretty(json.loads(record.options))
    if job.error is not None:
        texts["error"] = job.error.traceback or f"{job.error.type}: {job.error.message}"
    for index, attempt in enumerate(job.attempts):
        if attempt.error is not None:
            texts[f"try-{index}"] = attempt.error.traceback
    if job.output:
        texts["output"] = job.output
    if job.log:
        texts["log"] = "\n".join(f"{line.at.isoformat()}  {line.text}" for line in job.log)
    return texts


def shown(texts: dict[str, str], part: str) -> Shown | None:
    """One of them, as the page has it."""
    text = texts.get(part)
    return None if text is None else Shown(text, part, len(text))


@dataclass(frozen=True, slots=True)
class Can:
    """What may be done to a job."""

    retry: bool
    edit: bool
    cancel: bool
    reschedule: bool
    delete: bool


def can_do(job: Job[Any], role: Role, known: Iterable[str]) -> Can:
    """By its state, and by who asks."""
    operator = role >= Role.OPERATOR
    return Can(
        retry=operator and job.state in Verb.REVIVE.changes,
        edit=operator and job.task in known and not is_own(job.task),
        cancel=operator and job.state in Verb.CANCEL.changes and not job.cancel_requested,
        reschedule=operator and job.state in Verb.RESCHEDULE.changes,
        delete=role >= Role.ADMIN and job.state in Verb.DELETE.changes,
    )


@router.get("/job", include_in_schema=False)
async def job(page: AtPage, id: str = "") -> Response:
    """One job."""
    reads = reads_of(page)
    try:
        found = await reads.job(id)
    except JobNotFound:
        return page.show("gone.html", status=404, section="jobs", kind="job", id=id)
    texts = parts(found, found.shown_args())
    names = {worker.id: worker.name for worker in await reads.workers()}
    return page.show(
        "job.html",
        job=found,
        why=None if found.state is State.COMPLETED else await reads.why(found),
        can_do=can_do(found, page.identity.role, page.site.app.tasks),
        args=shown(texts, "args"),
        result=shown(texts, "result"),
        checkpoint=shown(texts, "checkpoint"),
        options=shown(texts, "options"),
        output=shown(texts, "output"),
        error=shown(texts, "error") if not any(attempt.error for attempt in found.attempts) else None,
        timeline=timeline(found, names),
        tries=tries(found),
        log=found.log[-200:],
        log_more=max(0, len(found.log) - 200),
        worker=names.get(found.worker or "", short_id(found.worker or "")),
        graph=await _graph(reads, page, found),
        is_final=found.state in FINAL,
    )


async def _graph(reads: Reads, page: Page, job: Job[Any]) -> Graph | None:
    if job.flow_id is None:
        return None
    try:
        flow = await reads.flow(job.flow_id)
        while flow.parent is not None:
            flow = await reads.flow(flow.parent)
    except FlowNotFound:
        return None
    return graph_of(flow, page.links, this=job.id) if flow.total <= GRAPH_MOST else None


@router.get("/job/whole", include_in_schema=False)
async def whole(page: AtPage, id: str = "", part: str = "") -> Response:
    """One text of a job, all of it, as nothing but text."""
    found = await page.site.app.jobs.aget(id)
    texts: Sequence[str] = [parts(found, found.shown_args()).get(part, "")]
    return PlainTextResponse(
        texts[0].encode("utf-8", "backslashreplace"),
        headers={
            "Content-Security-Policy": "sandbox; default-src 'none'",
            "X-Content-Type-Options": "nosniff",
            "Content-Disposition": "inline",
        },
    )
