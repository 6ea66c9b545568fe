"""Many jobs at once: by ids or by conditions, after a dry run if one likes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from pydantic import Field

from mainspring.errors import InvalidOption
from mainspring.model.states import State
from mainspring.store.base import Verb
from mainspring.web.api.inputs import Ask, JobConditions, where_of
from mainspring.web.api.jobs import CancelAsk, ReprioritiseAsk, RescheduleAsk
from mainspring.web.api.route import changing, new_router
from mainspring.web.identity import Role
from mainspring.web.shapes.base import Shape
from mainspring.web.site import AtSite, Site

__all__ = ["router"]

router = new_router("jobs")

Deed = Callable[..., Awaitable[int]]


class ManyAsk(Ask):
    """Which jobs; at least one condition must be given."""

    where: JobConditions
    dry_run: bool = Field(default=False, strict=True, description="Only say how many jobs there are; change none.")


class CancelManyAsk(ManyAsk, CancelAsk):
    """Which jobs to cancel, and why."""


class RescheduleManyAsk(ManyAsk, RescheduleAsk):
    """Which jobs run at another time, and when; give either `delay` or `at`."""


class ReprioritiseManyAsk(ManyAsk, ReprioritiseAsk):
    """Which jobs get another priority, and which one."""


class ManyShape(Shape):
    """What was done to many jobs, or, of a dry run, what would be."""

    matched: int = Field(description="How many jobs it can be done to, when it was begun.")
    changed: int = Field(description="How many it was done to; in a dry run none.")
    dry_run: bool
    counts: dict[str, int] = Field(description="Of the matched ones, how many were in each state.")
    told: str = Field(description="The same in a sentence.")


@router.post("/jobs/cancel", dependencies=changing(Role.OPERATOR))
async def cancel_jobs(site: AtSite, ask: CancelManyAsk) -> ManyShape:
    """Cancel jobs that wait, and ask for those that run to be ended."""
    live = Verb.CANCEL.changes
    return await _do(ask, site, "cancelled", live, live, site.app.jobs.acancel, {"reason": ask.reason})


@router.post("/jobs/retry", dependencies=changing(Role.OPERATOR))
async def retry_jobs(site: AtSite, ask: ManyAsk) -> ManyShape:
    """Queue ended jobs again with all their attempts, and let scheduled ones run now. Where neither ids nor states are
    given, the dead ones are meant."""
    usual = (State.DEAD,)
    return await _do(ask, site, "retried", Verb.REVIVE.changes, usual, site.app.jobs.aretry, {})


@router.post("/jobs/reschedule", dependencies=changing(Role.OPERATOR))
async def reschedule_jobs(site: AtSite, ask: RescheduleManyAsk) -> ManyShape:
    """Let queued and scheduled jobs run at another time."""
    if (ask.delay is None) == (ask.at is None):
        raise InvalidOption("say when: give either delay or at")
    how, waiting = {"delay": ask.delay, "at": ask.at}, Verb.RESCHEDULE.changes
    return await _do(ask, site, "rescheduled", waiting, waiting, site.app.jobs.areschedule, how)


@router.post("/jobs/reprioritise", dependencies=changing(Role.OPERATOR))
async def reprioritise_jobs(site: AtSite, ask: ReprioritiseManyAsk) -> ManyShape:
    """Give waiting jobs another priority."""
    waiting = Verb.REPRIORITISE.changes
    return await _do(
        ask, site, "reprioritised", waiting, waiting, site.app.jobs.areprioritise, {"priority": ask.priority}
    )


@router.post("/jobs/delete", dependencies=changing(Role.ADMIN))
async def delete_jobs(site: AtSite, ask: ManyAsk) -> ManyShape:
    """Delete jobs that do not run, with their logs. Nothing brings them back."""
    resting = Verb.DELETE.changes
    return await _do(ask, site, "deleted", resting, resting, site.app.jobs.adelete, {})


async def _do(
    ask: ManyAsk,
    site: Site,
    done: str,
    able: tuple[State, ...],
    usual: tuple[State, ...],
    act: Deed,
    how: Mapping[str, Any],
) -> ManyShape:
    """To jobs in the states in which it can be done; `usual` are those that are meant where nothing tells."""
    ids, where = where_of(ask.where)
    if ids is None and not where:
        raise InvalidOption("say which jobs: give at least one condition in `where`, such as state, queue or id")
    meant = ask.where.state or (able if ids is not None else usual)
    states = [state for state in able if state in meant]
    if not states:
        raise InvalidOption(f"only jobs that are {' or '.join(able)} can be {done}")
    where["state"] = states
    found = await site.app.jobs.acounts(ids, **where)
    counts = {state.value: found.get(state, 0) for state in states}
    matched = sum(counts.values())
    changed = 0
    if matched and not ask.dry_run:
        changed = await act(ids=ids, **how, **where)
    return ManyShape(
        matched=matched, changed=changed, dry_run=ask.dry_run, counts=counts, told=_told(ask, counts, changed, done)
    )


def _told(ask: ManyAsk, counts: Mapping[str, int], changed: int, done: str) -> str:
    matched = sum(counts.values())
    if not matched:
        return f"no job fits that can be {done}"
    parts = ", ".join(f"{count:,} {state}" for state, count in counts.items() if count)
    jobs = f"{matched:,} job{'' if matched == 1 else 's'} ({parts})"
    return f"{jobs} would be {done}" if ask.dry_run else f"{changed:,} of {jobs} {done}"
