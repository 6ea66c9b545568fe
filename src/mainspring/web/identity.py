"""Who asks, and what they may."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from enum import IntEnum

from starlette.types import Scope

from mainspring.errors import InvalidOption
from mainspring.model.text import clean, quote

__all__ = ["GUEST", "MAX_NAME", "Identity", "Role", "log_refusal"]

logger = logging.getLogger("mainspring.web")

MAX_NAME = 100


class Role(IntEnum):
    """What somebody may do; each may what those before may."""

    GUEST = 0
    """Nothing, but for what a ticket allows."""
    VIEWER = 1
    """Look."""
    OPERATOR = 2
    """Change jobs, queues, workers; enqueue; pause schedules and run them now."""
    ADMIN = 3
    """Change what holds for everybody, limits and schedules, and what is deleted for good."""

    @classmethod
    def named(cls, name: str) -> Role:
        """The role of that name, `viewer`, `operator` or `admin`. Raises `InvalidOption`."""
        for role in (cls.VIEWER, cls.OPERATOR, cls.ADMIN):
            if role.name.lower() == name:
                return role
        raise InvalidOption(f"there is no role {quote(name)}; it is viewer, operator or admin")


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody who may. Raises `InvalidOption` for a name or a role that is none."""

    name: str
    """As the audit log shows it: on one line, of up to 100 letters."""
    role: Role

    def __post_init__(self) -> None:
        name = " ".join(clean(self.name).split())[:MAX_NAME].strip() if isinstance(self.name, str) else ""
        if not name or not isinstance(self.role, Role):
            raise InvalidOption(f"Identity({quote(self.name)}, {quote(self.role)}): give a name, and a Role")
        object.__setattr__(self, "name", name)


GUEST = Identity("guest", Role.GUEST)
"""Whoever is not known. Only what takes tickets, or is open to all, ever meets him."""


def log_refusal(identity: Identity, scope: Scope) -> None:
    """Somebody who is known has tried what he may not: that is in the log, since nothing is done that the audit log
    could have."""
    what, where = scope.get("method", "WebSocket"), repr(scope["path"][:200])
    logger.warning("%r, who is %s, may not %s %s", identity.name, identity.role.name.lower(), what, where)
