"""Queues: what is in each, and what holds there: pauses, limits, partitions."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.datastructures import FormData
from starlette.responses import Response

from mainspring.admin import PartitionView, QueueView
from mainspring.errors import ConfigurationError, InvalidOption
from mainspring.model.limits import NO_LIMITS, Limits, Rate
from mainspring.model.states import State
from mainspring.model.text import quote
from mainspring.web.identity import Role
from mainspring.web.pages.acting import in_the_name_of
from mainspring.web.pages.asking import Question, ask, hidden
from mainspring.web.pages.overview import SPANS, charts_of
from mainspring.web.pages.reads import Counts, reads_of
from mainspring.web.pages.rendering import Page, after, page_of
from mainspring.web.pages.text import plain
from mainspring.web.pages.words import number
from mainspring.web.site import may

__all__ = ["limits_words", "router"]

LATELY = 100
"""Of so many jobs, the newest, the page names the partitions."""
WORDS = {"block": "one job at a time; a dead one holds up those behind it", "skip": "one job at a time"}

router = APIRouter(dependencies=[may(Role.VIEWER)])
AtPage = Annotated[Page, Depends(page_of)]


def limits_words(
    concurrency: int | None, rates: Iterable[Rate], max_queued: int | None, weight: float = 1.0
) -> tuple[str, ...]:
    """What holds, each limit in words: "at most 5 at once", "50 per 1m"."""
    parts = [
        "" if concurrency is None else f"{number(concurrency)} at once",
        *(f"{number(rate.limit)} per {_length(str(rate.per))}" for rate in rates),
        "" if max_queued is None else f"{number(max_queued)} waiting at most",
        "" if weight == 1 else f"weight {weight:g}",
    ]
    return tuple(part for part in parts if part)


def _length(per: str) -> str:
    """`1m` as "min", `5m` as "5 min"; what has several units stays as it is."""
    found = re.fullmatch(r"(\d+)([a-z]+)", per)
    if not found:
        return per
    unit = "min" if found[2] == "m" else found[2]
    return unit if found[1] == "1" else f"{found[1]} {unit}"


def _of(limits: Limits) -> tuple[str, ...]:
    return limits_words(limits.concurrency, limits.rates, limits.max_queued, limits.weight)


@dataclass(frozen=True, slots=True)
class QueueRow:
    """A queue as lists show it."""

    name: str
    state: str
    """ "paused", "open", or "closed": time keeps a gate shut."""
    counts: dict[str, int]
    told: dict[str, str]
    """The same for people."""
    oldest: float | None
    limits: tuple[str, ...]
    is_partitioned: bool
    workers: int


def row_of(queue: QueueView, workers: int) -> QueueRow:
    """The row of a queue that so many workers take."""
    return QueueRow(
        name=queue.name,
        state=_state(queue),
        counts={state.value: queue.counts.get(state, 0) for state in State},
        told={state.value: Counts.over([queue]).told(state) for state in State},
        oldest=queue.oldest_waiting,
        limits=limits_words(queue.concurrency, queue.rates, queue.max_queued),
        is_partitioned=queue.per_partition != NO_LIMITS or queue.sequence is not None,
        workers=workers,
    )


def _state(view: QueueView | PartitionView) -> str:
    return "paused" if view.paused else "open" if view.opens_at is None else "closed"


@router.get("/queues", include_in_schema=False)
async def queues(page: AtPage) -> Response:
    """All of them."""
    reads = reads_of(page)
    at_work = [worker for worker in await reads.workers() if worker.alive and not worker.quiet]
    found = await reads.queues()
    rows = [row_of(queue, sum(queue.name in worker.queues for worker in at_work)) for queue in found]
    return page.show("queues.html", rows=rows, states=list(State))


@router.get("/queue", include_in_schema=False)
async def queue(page: AtPage, name: str = "") -> Response:
    """One of them."""
    reads = reads_of(page)
    span = page.request.query_params.get("span", "1h")
    span = span if span in SPANS else "1h"
    view = await reads.queue(name)
    if view is None:
        return page.show("gone.html", status=404, section="queues", kind="queue", id=name)
    history = await reads.history(span, page.now.zone, name)
    at_work = [
        worker for worker in await reads.workers() if worker.alive and not worker.quiet and name in worker.queues
    ]
    parts = await reads.partitions(name)
    lately = await reads.jobs({"queue": name}, LATELY)
    return page.show(
        "queue.html",
        queue=view,
        state=_state(view),
        limits=limits_words(view.concurrency, view.rates, view.max_queued),
        each=_of(view.per_partition),
        sequence=WORDS.get(view.sequence or ""),
        lately=sorted({job.partition for job in lately if job.partition} - {part.name for part in parts or ()}),
        partitions=None if parts is None else [(part, _state(part), _of(part.limits)) for part in parts],
        charts=charts_of(history, Counts.over([view])),
        counts=Counts.over([view]),
        states=list(State),
        span=span,
        spans=SPANS,
        workers=at_work,
    )


# --- pause, resume ---------------------------------------------------------------------------------------------------


def _place(name: str, partition: str | None) -> str:
    where = f"queue {plain(name, 60)}"
    return where if partition is None else f"partition {plain(partition, 60)} of {where}"


def _switch(page: Page, verb: str, name: str, partition: str | None) -> Question:
    place = _place(name, partition)
    told = {
        "pause": (
            f"Pause {place}?",
            "No worker takes a job from it until it is resumed. What runs goes on, and so does enqueuing.",
        ),
        "resume": (f"Resume {place}?", "Workers take its jobs again, at once."),
    }[verb]
    return Question(
        title=told[0],
        text=(told[1],),
        action=page.links(f"queue/{verb}"),
        button=verb.capitalize(),
        back=page.links("queue", name=name),
        hidden=hidden([("name", name)]) + (() if partition is None else (("partition", partition),)),
    )


@router.get("/queue/pause", include_in_schema=False, dependencies=[may(Role.OPERATOR)])
@router.get("/queue/resume", include_in_schema=False, dependencies=[may(Role.OPERATOR)])
async def ask_to_switch(page: AtPage, name: str = "", partition: str | None = None) -> Response:
    """Ask before it is paused or resumed."""
    return ask(page, _switch(page, _last(page), name, partition), section="queues")


@router.post("/queue/pause", include_in_schema=False, dependencies=[may(Role.OPERATOR)])
@router.post("/queue/resume", include_in_schema=False, dependencies=[may(Role.OPERATOR)])
async def switch(page: AtPage) -> Response:
    """Pause or resume."""
    form = await page.request.form()
    verb, name = _last(page), _text(form, "name")
    partition = _text(form, "partition") if "partition" in form else None
    doors = page.site.app.queues
    with in_the_name_of(page):
        await (doors.apause if verb == "pause" else doors.aresume)(name, partition)
    return after(page.links("queue", name=name, done=f"{verb}d"))


def _last(page: Page) -> str:
    return page.request.url.path.rpartition("/")[2]


def _text(form: FormData, name: str) -> str:
    value = form.get(name, "")
    return value.strip() if isinstance(value, str) else ""


# --- limits ----------------------------------------------------------------------------------------------------------

QUEUE, EACH, ONE = "queue", "each", "one"
"""Whose limits: the queue's as a whole, those of each partition, those of one."""


@router.get("/queue/limits", include_in_schema=False, dependencies=[may(Role.ADMIN)])
async def limits_form(page: AtPage, name: str = "", of: str = QUEUE, partition: str = "") -> Response:
    """Show them, to be edited."""
    limits = await _limits(page, name, of, partition)
    values = {
        "concurrency": "" if limits.concurrency is None else str(limits.concurrency),
        "rate": ", ".join(map(str, limits.rates)),
        "max_queued": "" if limits.max_queued is None else str(limits.max_queued),
        "weight": f"{limits.weight:g}",
    }
    return page.show("limits.html", name=name, of=of, partition=partition, values=values)


async def _limits(page: Page, name: str, of: str, partition: str) -> Limits:
    if of == ONE and partition:
        return (await page.site.app.queues.apartition(name, partition)).limits
    view = await reads_of(page).queue(name)
    if view is None:
        return NO_LIMITS
    return view.per_partition if of == EACH else Limits(view.concurrency, view.rates, view.max_queued)


@router.post("/queue/limits", include_in_schema=False, dependencies=[may(Role.ADMIN)])
async def set_limits(page: AtPage) -> Response:
    """Set them."""
    form = await page.request.form()
    name, of, partition = _text(form, "name"), _text(form, "of") or QUEUE, _text(form, "partition")
    values = {key: _text(form, key) for key in ("concurrency", "rate", "max_queued", "weight")}
    try:
        given: dict[str, Any] = {
            "concurrency": _whole("at once", values["concurrency"]),
            "rate": [rate.strip() for rate in values["rate"].split(",") if rate.strip()] or None,
            "max_queued": _whole("waiting at most", values["max_queued"]),
        }
        if of in (EACH, ONE) and values["weight"]:
            given["weight"] = _share(values["weight"])
        if of == EACH:
            given["per_partition"] = True
        elif of == ONE:
            given["partition"] = partition
        with in_the_name_of(page):
            await page.site.app.queues.aset_limits(name, **given)
    except ConfigurationError as error:
        return page.show(
            "limits.html", status=422, name=name, of=of, partition=partition, values=values, problem=str(error)
        )
    return after(page.links("queue", name=name, done="limits"))


def _whole(what: str, text: str) -> int | None:
    if not text:
        return None
    if not text.isdecimal() or len(text) > 12:
        raise InvalidOption(f"{what}: {quote(text)} is not a whole number")
    return int(text)


def _share(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InvalidOption(f"weight: {quote(text)} is not a number") from None
