"""Selections of jobs: find, count, alter, prune."""

from __future__ import annotations

from mainspring.store.base import (
    AlterReply,
    AlterRequest,
    CountReply,
    CountRequest,
    FindRequest,
    Operation,
    Page,
    PruneRequest,
)

__all__ = ["Selections"]


class Selections:
    """What people look at, and what they do to many jobs at once."""

    def alter(self, request: AlterRequest) -> Operation[AlterReply]:
        raise NotImplementedError

    def prune(self, request: PruneRequest) -> Operation[int]:
        raise NotImplementedError

    def find(self, request: FindRequest) -> Operation[Page]:
        raise NotImplementedError

    def count(self, request: CountRequest) -> Operation[CountReply]:
        raise NotImplementedError
