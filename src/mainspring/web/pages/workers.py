"""Workers: who is there, what each runs, and what they are told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.datastructures import FormData
from starlette.responses import Response

from mainspring.admin import WorkerView
from mainspring.job import Job
from mainspring.model.sizes import format_bytes
from mainspring.model.states import State
from mainspring.web.identity import Role
from mainspring.web.pages.acting import in_the_name_of
from mainspring.web.pages.asking import Question, ask
from mainspring.web.pages.jobs import Row, row_of
from mainspring.web.pages.reads import reads_of
from mainspring.web.pages.rendering import Page, after, page_of
from mainspring.web.pages.text import plain
from mainspring.web.pages.words import THIN
from mainspring.web.site import may

__all__ = ["WorkerRow", "router", "rows_of"]

RUNNING_SHOWN = 500
EACH_SHOWN = 10

router = APIRouter(dependencies=[may(Role.VIEWER)])
AtPage = Annotated[Page, Depends(page_of)]


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A worker and what it runs."""

    view: WorkerView
    state: str
    """ "working", "quiet" or "gone"."""
    told: str
    runs: tuple[Row, ...]
    more: int
    """How many more it runs than are shown."""
    used: float
    """How much of its room is taken, in percent."""
    memory: str

    @property
    def beat_at(self) -> datetime:
        """When it was heard of last."""
        return self.view.beat_at


def rows_of(workers: Iterable[WorkerView], running: Sequence[Job[Any]]) -> tuple[WorkerRow, ...]:
    """The rows: those that are gone first, since they want looking at."""
    by_worker: dict[str, list[Job[Any]]] = {}
    for job in running:
        by_worker.setdefault(job.worker or "", []).append(job)
    rows = [_row(worker, by_worker.get(worker.id, [])) for worker in workers]
    return tuple(sorted(rows, key=lambda row: row.state != "gone"))


def _row(worker: WorkerView, jobs: Sequence[Job[Any]]) -> WorkerRow:
    count = max(len(jobs), worker.running)
    told = {"quiet": "told to be quiet", "stop": "told to stop"}.get(worker.command or "", "")
    return WorkerRow(
        view=worker,
        state="gone" if not worker.alive else "quiet" if worker.quiet else "working",
        told=told,
        runs=tuple(row_of(job) for job in jobs[:EACH_SHOWN]),
        more=max(0, count - len(jobs[:EACH_SHOWN])),
        used=min(100.0, 100 * count / worker.concurrency) if worker.concurrency else 0.0,
        memory="–" if worker.memory is None else format_bytes(worker.memory).replace(" ", THIN),
    )


@router.get("/workers", include_in_schema=False)
async def workers(page: AtPage) -> Response:
    """All of them."""
    reads = reads_of(page)
    running = await reads.jobs({"state": (State.RUNNING,)}, RUNNING_SHOWN)
    return page.show("workers.html", rows=rows_of(await reads.workers(), running))


_DEEDS = {
    "quiet": ("Let it take no more jobs?", "What it runs goes on. It hears this with its next heartbeat.", "Quiet it"),
    "stop": (
        "Stop this worker?",
        "It takes no more jobs, lets those that it runs finish for its grace period, hands back the rest, and ends. "
        "It hears this with its next heartbeat.",
        "Stop it",
    ),
}


@router.get("/worker/{verb}", include_in_schema=False, dependencies=[may(Role.OPERATOR)])
async def ask_about(page: AtPage, verb: str, id: str = "") -> Response:
    """Ask before it is told."""
    worker = next((each for each in await reads_of(page).workers() if each.id == id), None)
    if worker is None or verb not in _DEEDS:
        return page.show("gone.html", status=404, section="workers", kind="worker", id=id)
    title, text, button = _DEEDS[verb]
    question = Question(
        title=title,
        text=(plain(worker.name, 100), text),
        action=page.links(f"worker/{verb}"),
        button=button,
        back=page.links("workers"),
        danger=verb == "stop",
        hidden=(("id", id),),
    )
    return ask(page, question, section="workers")


@router.post("/worker/{verb}", include_in_schema=False, dependencies=[may(Role.OPERATOR)])
async def tell(page: AtPage, verb: str) -> Response:
    """Tell it."""
    form: FormData = await page.request.form()
    id = str(form.get("id", ""))
    if verb not in _DEEDS:
        return page.show("gone.html", status=404, section="workers", kind="worker", id=id)
    doors = page.site.app.workers
    with in_the_name_of(page):
        heard = await (doors.aquiet if verb == "quiet" else doors.astop)(id)
    return after(page.links("workers", done=verb if heard else "gone"))
