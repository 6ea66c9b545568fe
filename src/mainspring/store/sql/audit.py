"""The audit log: an entry for each action of an operator."""

from __future__ import annotations

from mainspring.model.audit import AuditEntry
from mainspring.store.base import ConfigureRequest, Operation, PruneRequest
from mainspring.store.sql.documents import document
from mainspring.store.sql.statements import Query, sql

__all__ = ["prune", "read", "write"]


def write(entry: AuditEntry, count: int | None, now: int) -> Operation[None]:
    """Inside an operation that writes already."""
    yield sql(
        "write_audit",
        id=entry.id,
        at=now,
        actor=entry.actor,
        action=entry.action,
        target=entry.target,
        detail=entry.detail,
        count=count,
    )


def read(request: ConfigureRequest) -> Operation[tuple[AuditEntry, ...]]:
    """A page of it, newest first."""
    if request.before is None:
        rows = yield sql("newest_audit", limit=request.limit)
    else:
        at, id = request.before
        rows = yield sql("audit_before", at=at, id=id, limit=request.limit)
    return tuple(AuditEntry(*row) for row in rows)


def prune(request: PruneRequest, now: int) -> Operation[None]:
    """Inside an operation that writes already."""
    if request.keep_audit_ms is None:
        return
    outdated = yield sql("outdated_audit", before=now - request.keep_audit_ms, limit=request.limit)
    if outdated:
        ids = document([row[0] for row in outdated])
        yield Query("DELETE FROM mainspring_audit WHERE id {among ids}", {"ids": ids})
