"""Flows of the usual shapes: one after the other, side by side, side by side and then one; and what a job spawns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar, cast

from mainspring.draft import JobDraft
from mainspring.errors import InvalidFlow
from mainspring.flow import Flow
from mainspring.model.holes import PREVIOUS, Pending
from mainspring.model.job import NewJob
from mainspring.model.text import cut
from mainspring.nodes import OnFailure, policies_of

__all__ = ["chain", "chord", "group", "mapped", "previous", "spawned"]

R = TypeVar("R")
Step = JobDraft[R] | Flow[R]

previous: Any = PREVIOUS
"""In a chain, as an argument: the result of the step before; of a group that is the list of its results, in order."""

_FAIL = policies_of("fail")
_LONGEST_NAME = 200


def chain(*steps: Step[Any], name: str | None = None) -> Flow[Any]:
    """A flow of jobs that run one after the other, not yet enqueued.

        flow = chain(fetch.job(url), group(thumb.job(previous, 100), thumb.job(previous, 500)), post.job(previous))
        flow.enqueue().result()

    A step is a job or a flow; the jobs of a group run side by side. Where one ends badly, the later ones are cancelled.
    Its result is that of the last step. Raises `InvalidFlow`.
    """
    flow: Flow[Any] = Flow(name or _short(" -> ".join(_name(step) for step in steps)))
    wait: tuple[str, ...] = ()
    ending: Pending | None = None
    for step in steps:
        if isinstance(step, Flow):
            flow._nest(step, wait, _FAIL)
            entries = [entry for each in step._all() for entry in each._entries]
            last, outcome = step._last(), step._ending
        else:
            entries = [flow._enter(step, wait, _FAIL)]
            last, outcome = (entries[0].id,), Pending((entries[0].id,))
        for entry in entries:
            if any(gap.of.previous for gap in entry.gaps):
                if ending is not None:
                    entry.resolve(ending)
                elif wait:
                    raise InvalidFlow(
                        f"flow {flow.name!r}: task {entry.node.task!r} takes the result of the step before, which is a "
                        "flow that has none; use the results of that one's jobs"
                    )
        # After a group of no jobs one waits for what that would have waited for.
        wait, ending = last or wait, outcome
    flow._ending = ending
    return flow


def group(*jobs: Step[R] | Iterable[Step[R]], name: str | None = None) -> Flow[list[R]]:
    """A flow of jobs that run side by side, not yet enqueued: `group(a.job(1), b.job(2))`, or of one iterable.

    A chain can stand for a job. Its result is the list of their results, in order. Raises `InvalidFlow`.
    """
    steps: list[Step[R]] = []
    for each in jobs:
        steps += [each] if isinstance(each, JobDraft | Flow) else _listed(each)
    flow: Flow[Any] = Flow(name or _short(_crowd(steps)))
    endings: list[Pending | None] = []
    for step in steps:
        if isinstance(step, Flow):
            flow._nest(step, (), _FAIL)
            endings.append(step._ending)
        else:
            endings.append(Pending((flow._enter(step, (), _FAIL).id,)))
    if all(ending is not None and not ending.listed for ending in endings):
        flow._ending = Pending(tuple(job for ending in endings if ending for job in ending.jobs), listed=True)
    return flow


def chord(header: Iterable[Step[Any]] | Flow[Any], body: JobDraft[R], *, name: str | None = None) -> Flow[R]:
    """A flow of jobs that run side by side, and one that runs after them, not yet enqueued:
    `chord((count.job(page) for page in pages), add_up.job(previous))`.

    `header` may be a flow: a group, a map. Its result is that of `body`. Raises `InvalidFlow`.
    """
    return cast("Flow[R]", chain(header if isinstance(header, Flow) else group(header), body, name=name))


def mapped(task: str, drafts: Sequence[JobDraft[R]], chunk: int) -> Flow[list[R]]:
    """What `task.map` gives."""
    of_up_to = f" of up to {chunk}" if chunk > 1 else ""
    flow: Flow[Any] = group(drafts, name=_short(f"map {task} ({len(drafts):,} jobs{of_up_to})"))
    flow._ending = Pending(flow._outcome().jobs, listed=True, joined=chunk > 1)
    return flow


def spawned(
    flow: str | None, drafts: Sequence[JobDraft[Any]], then: JobDraft[Any] | None, on_failure: OnFailure
) -> tuple[NewJob, ...]:
    """The jobs that a running one leaves behind, in its flow if it has one. Raises `InvalidFlow`, `InvalidOption`."""
    children: Flow[Any] = Flow("spawned")
    ids = tuple(children._enter(draft, (), _FAIL).id for draft in drafts)
    if then is not None:
        children._enter(then, ids, policies_of(on_failure)).resolve(Pending(ids, listed=True))
    return children._taken(flow)


def _listed(steps: Any) -> list[Step[Any]]:
    if isinstance(steps, str | bytes) or not isinstance(steps, Iterable):
        raise InvalidFlow(f"{steps!r} is neither a job nor a flow, nor some of them; make a job with task.job(...)")
    return list(steps)


def _name(step: Any) -> str:
    return step.name if isinstance(step, Flow) else step.new.task if isinstance(step, JobDraft) else "?"


def _crowd(steps: Sequence[Any]) -> str:
    """Many by their names: `3 thumb, fetch`."""
    counts = Counter(map(_name, steps))
    return ", ".join(name if count == 1 else f"{count} {name}" for name, count in counts.items())


def _short(name: str) -> str:
    return cut(name, _LONGEST_NAME).strip() or "nothing"
