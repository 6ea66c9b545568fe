"""Who asks, and what they may."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

__all__ = ["Identity", "Role"]


class Role(IntEnum):
    """What somebody may do; each may what those before may."""

    VIEWER = 1
    """Look."""
    OPERATOR = 2
    """Change jobs, queues, schedules, workers; enqueue."""
    ADMIN = 3
    """Change what holds for everybody: limits, and what is deleted for good."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody who may."""

    name: str
    """As the audit log shows it."""
    role: Role
