"""`app.audit`: what operators did, newest first."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, overload

from mainspring.admin.door import Door
from mainspring.admin.jobs import PAGE_LIMIT
from mainspring.clock import moment
from mainspring.errors import InvalidOption
from mainspring.model.audit import AuditEntry, cursor_at, place_in
from mainspring.model.text import quote
from mainspring.store.base import ConfigureRequest
from mainspring.twin import Steps, ask, twins

__all__ = ["Audit", "AuditPage", "AuditView"]


@dataclass(frozen=True, slots=True)
class AuditView:
    """One action of an operator."""

    id: str
    at: datetime
    """When it was begun."""
    actor: str
    """Who did it: of the command line `user@host`, of the web the name under which he is known there."""
    action: str
    """What was done, by its verb: "jobs.retry", "queues.pause"."""
    target: str
    """To what: an id, a name, or the conditions of a selection ("state=dead queue=email")."""
    detail: Mapping[str, Any]
    """What else was said, as JSON values; arguments marked as secret are left out."""
    count: int | None
    """How many things it changed. None: it has not ended, or whoever did it died before it had."""


class AuditPage(Sequence[AuditView]):
    """Some entries, newest first, and where to go on: `app.audit.list(cursor=page.cursor)`."""

    __slots__ = ("_entries", "cursor")

    def __init__(self, entries: tuple[AuditView, ...], cursor: str | None) -> None:
        self._entries = entries
        self.cursor = cursor
        """None: there are no more."""

    def __len__(self) -> int:
        return len(self._entries)

    @overload
    def __getitem__(self, index: int) -> AuditView: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[AuditView, ...]: ...
    def __getitem__(self, index: int | slice) -> AuditView | tuple[AuditView, ...]:
        return self._entries[index]

    def __repr__(self) -> str:
        return f"<AuditPage of {len(self)}{', more to come' if self.cursor else ''}>"


class Audit(Door):
    """`app.audit`.

    One entry for each action of an operator, written before it is begun; its count comes when it has ended. Entries are
    made for those for whom somebody acts, as the command line and the web do: `with mainspring.acting("ada"): ...`.
    They are kept for 90 days.
    """

    def _list(self, limit: int = 50, cursor: str | None = None) -> Steps[AuditPage]:
        """A page of entries, newest first. Raises `InvalidOption`."""
        if type(limit) is not int or not 1 <= limit <= PAGE_LIMIT:
            raise InvalidOption(f"limit={quote(limit)} is not a whole number from 1 to {PAGE_LIMIT}")
        before = None if cursor is None else place_in(cursor)
        request = ConfigureRequest(read=frozenset({"audit"}), limit=limit + 1, before=before)
        entries = (yield from ask(request)).audit
        more = len(entries) > limit
        return AuditPage(tuple(map(_view, entries[:limit])), cursor_at(entries[limit - 1]) if more else None)

    list, alist = twins(_list)


def _view(entry: AuditEntry) -> AuditView:
    return AuditView(
        id=entry.id,
        at=moment(entry.at or 0),
        actor=entry.actor,
        action=entry.action,
        target=entry.target,
        detail=json.loads(entry.detail),
        count=entry.count,
    )
