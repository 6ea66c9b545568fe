"""The eleven operations. For now they only see that scripts run."""

from __future__ import annotations

from typing import Any

from mainspring.store.base import Operation, Request
from mainspring.store.redis.scripts import Call

__all__ = ["RedisOperations"]


def _ping(self: object, request: Request[Any]) -> Operation[Any]:
    return (yield Call("ping", "{}"))


class RedisOperations:
    """One half of a store; the other is its drivers and its schema."""

    insert = claim = settle = note = beat = reap = alter = prune = find = count = configure = _ping
