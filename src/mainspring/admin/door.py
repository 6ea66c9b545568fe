"""What the parts of the operators' door share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mainspring import audit
from mainspring.store.base import Change
from mainspring.twin import Steps

if TYPE_CHECKING:
    from mainspring.app import Mainspring

__all__ = ["Door"]


class Door:
    """One part of the operators' door."""

    def __init__(self, app: Mainspring) -> None:
        self._app = app

    def _change(self, change: Change, action: str, target: str, detail: Mapping[str, Any] | None = None) -> Steps[bool]:
        """Change a setting; the rest is what the audit log is told. False: there is nothing of that name."""
        return (yield from audit.change(change, action, target, detail or {}))
