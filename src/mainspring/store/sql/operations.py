"""The eleven operations, as every SQL store has them."""

from __future__ import annotations

from mainspring.model.job import Claim
from mainspring.store.base import (
    AlterReply,
    AlterRequest,
    BeatReply,
    BeatRequest,
    ClaimReply,
    ClaimRequest,
    ConfigureRequest,
    CountReply,
    CountRequest,
    FindRequest,
    Inserted,
    InsertRequest,
    NoteRequest,
    Operation,
    Page,
    PruneRequest,
    ReapRequest,
    Settings,
    SettleRequest,
)
from mainspring.store.sql import claims, jobs, selections, settings, workers

__all__ = ["SqlOperations"]


class SqlOperations:
    """One half of a store; the other is its drivers and its schema."""

    def insert(self, request: InsertRequest) -> Operation[tuple[Inserted, ...]]:
        return jobs.insert(request)

    def claim(self, request: ClaimRequest) -> Operation[ClaimReply]:
        return claims.claim(request)

    def settle(self, request: SettleRequest) -> Operation[frozenset[str]]:
        return jobs.settle(request)

    def note(self, request: NoteRequest) -> Operation[frozenset[str]]:
        return jobs.note(request)

    def beat(self, request: BeatRequest) -> Operation[BeatReply]:
        return workers.beat(request)

    def reap(self, request: ReapRequest) -> Operation[tuple[Claim, ...]]:
        return workers.reap(request)

    def alter(self, request: AlterRequest) -> Operation[AlterReply]:
        return selections.alter(request)

    def prune(self, request: PruneRequest) -> Operation[int]:
        return selections.prune(request)

    def find(self, request: FindRequest) -> Operation[Page]:
        return selections.find(request)

    def count(self, request: CountRequest) -> Operation[CountReply]:
        return selections.count(request)

    def configure(self, request: ConfigureRequest) -> Operation[Settings]:
        return settings.configure(request)
