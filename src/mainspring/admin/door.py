"""What the parts of the operators' door share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mainspring.store.base import Change, ConfigureRequest
from mainspring.twin import Steps, ask

if TYPE_CHECKING:
    from mainspring.app import Mainspring

__all__ = ["Door"]


class Door:
    """One part of the operators' door."""

    def __init__(self, app: Mainspring) -> None:
        self._app = app

    def _change(self, change: Change) -> Steps[bool]:
        settings = yield from ask(ConfigureRequest((change,)))
        return settings.changed > 0
