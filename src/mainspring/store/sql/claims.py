"""The claim: what is due is promoted, then each queue gives what it has and may."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from mainspring.model.job import Claim
from mainspring.store.base import ClaimReply, ClaimRequest, Operation, Room
from mainspring.store.sql import edges, gates, turns
from mainspring.store.sql.documents import document
from mainspring.store.sql.statements import WRITE, Row, sql, time_of

__all__ = ["claim", "claim_of"]

PROMOTED_AT_ONCE = 1000
"""How many due jobs of one queue one claim promotes; the rest waits for the next, so that no claim takes long."""


def claim(request: ClaimRequest) -> Operation[ClaimReply]:
    names = document(sorted({room.queue for room in request.rooms}))
    # A look without the write lock first: a worker that is woken for nothing disturbs nobody.
    now = yield from time_of(request.now)
    survey = yield from _survey(request, names, now)
    claims: list[Claim] = []
    if request.held is not None and survey.alive:
        held = document(sorted(request.held))
        claims = sorted(map(claim_of, (yield sql("unheld", worker=request.worker, doc=held))), key=_by_id)
    if (yield from _worth_writing(request, survey, now)):
        yield WRITE
        alone = survey.alone(now)
        yield from gates.lock(alone)
        gated = survey.gated.intersection(alone)
        closed = yield from gates.lock_tasks(sorted(gated))
        now = yield from time_of(request.now)
        for queue in survey.due(now):
            promoted = yield sql("promote_due", queue=queue, now=now, limit=PROMOTED_AT_ONCE)
            yield from gates.wake([row[0] for row in promoted])
        survey = yield from _survey(request, names, now)
        for room in request.rooms:
            limit = survey.room(room.queue, min(room.limit, request.limit - len(claims)))
            if (
                limit > 0
                and survey.limited(room.queue)
                and room.queue not in (gated if room.queue in survey.gated else alone)
            ):
                # What has just come to it is left to the next claim: locks are taken in order, or not at all.
                survey.opens(room.queue, now)
            elif limit > 0:
                taken = yield from _serve(Room(room.queue, limit), request.worker, survey, now, closed)
                survey.took(room.queue, len(taken))
                claims += taken
        if claims and (yield sql("any_key")):
            yield sql("give_back_keys_of_started", doc=document([claim.id for claim in claims]))
    claims = yield from edges.with_parents(claims)
    return ClaimReply(tuple(claims), now, survey.next_due(), survey.alive)


def _survey(request: ClaimRequest, names: str, now: int) -> Operation[_Survey]:
    alive = yield sql("worker_alive", worker=request.worker, now=now)
    return _Survey((yield sql("survey_queues", doc=names, now=now)) if alive else (), bool(alive))


def _worth_writing(request: ClaimRequest, survey: _Survey, now: int) -> Operation[bool]:
    """Whether there is anything to promote, to claim, or to write down."""
    if not survey.alive:
        return False
    if survey.due(now):
        return True
    for room in request.rooms:
        if survey.room(room.queue, min(room.limit, request.limit)) <= 0:
            continue
        if room.queue not in survey.gated:
            return True
        look = yield from turns.look(room.queue, now)
        if look.worth_writing:
            return True
        survey.opens(room.queue, look.opens_at)
    return False


def _serve(room: Room, worker: str, survey: _Survey, now: int, closed: Collection[str]) -> Operation[list[Claim]]:
    if room.queue in survey.gated:
        served = yield from turns.serve(room.queue, worker, room.limit, now, closed)
        survey.opens(room.queue, served.opens_at)
        return [claim_of(row) for row in served.rows]
    rows = yield sql("claim_jobs", queue=room.queue, worker=worker, now=now, limit=room.limit)
    claims = [claim_of(row) for row in rows]
    claims.sort(key=lambda claim: (claim.priority, claim.run_at, claim.id))
    return claims


def _by_id(claim: Claim) -> str:
    return claim.id


def claim_of(row: Row) -> Claim:
    """A claim from its columns; SQLite has no booleans."""
    columns: Row = (*row[:-5], bool(row[-5]), *row[-4:])
    return Claim(*columns)


class _Survey:
    """What a claim finds: which queues are open, how much of their limit is left, what is due.

    For a worker that is not alive: nothing.
    """

    def __init__(self, rows: Sequence[Row], alive: bool) -> None:
        self.alive = alive
        self.gated: set[str] = set()
        """Queues where more than their slots is to be looked at."""
        self._open: dict[str, int | None] = {}
        """Queues with something to claim, and how many more may run there (None: any number)."""
        self._times: dict[str, int] = {}
        """When time gives a queue something that it has not now."""
        self._scheduled: dict[str, int] = {}
        self._slots: set[str] = set()
        """Queues with so many of them."""
        for name, unpaused, slots, running, queued, scheduled_at, gated in rows:
            if unpaused and queued:
                self._open[name] = None if slots is None else max(0, slots - running)
            if scheduled_at is not None:
                self._scheduled[name] = scheduled_at
            if gated:
                self.gated.add(name)
            if slots is not None:
                self._slots.add(name)

    def limited(self, queue: str) -> bool:
        """Whether what one claim gets there depends on what others got."""
        return queue in self.gated or self._open.get(queue) is not None

    def alone(self, now: int) -> list[str]:
        """Queues that may be served, and by one claim at a time; sorted."""
        served = {queue for queue in self._open if self.room(queue, 1)}.union(self.due(now))
        return sorted(queue for queue in served if queue in self.gated or queue in self._slots)

    def due(self, now: int) -> list[str]:
        return [queue for queue, at in self._scheduled.items() if at <= now]

    def next_due(self) -> int | None:
        opening = [at for queue, at in self._times.items() if self.room(queue, 1)]
        return min([*self._scheduled.values(), *opening], default=None)

    def room(self, queue: str, limit: int) -> int:
        left = self._open.get(queue, 0)
        return limit if left is None else min(limit, left)

    def took(self, queue: str, count: int) -> None:
        left = self._open[queue]
        if left is not None:
            self._open[queue] = left - count

    def opens(self, queue: str, at: int | None) -> None:
        """Time alone opens the gates of a queue then; None: there are none that it opens."""
        self._times.pop(queue, None)
        if at is not None:
            self._times[queue] = at
