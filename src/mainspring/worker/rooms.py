"""In which order a worker serves its queues, and how much of its room it offers to each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mainspring.errors import InvalidOption
from mainspring.model.options import check_name
from mainspring.model.text import quote
from mainspring.store.base import Room

__all__ = ["Rooms"]


class Rooms:
    """Strict order for a sequence of names; for a mapping of names to weights, room in proportion.

    With weights, each claim first offers every queue its share, then what the others left over. Shares are dealt by
    stride scheduling, so that they come out exactly in the long run even where there is room for one job at a time.
    """

    def __init__(self, queues: Iterable[str] | Mapping[str, int]) -> None:
        self.names = tuple(check_name("queue", name) for name in queues)
        if not self.names or len(set(self.names)) < len(self.names):
            raise InvalidOption(f"queues {quote(self.names)} must name at least one queue, and none twice")
        self._strides: dict[str, float] | None = None
        if isinstance(queues, Mapping):
            for name, weight in queues.items():
                if type(weight) is not int or not 1 <= weight <= 1000:
                    raise InvalidOption(
                        f"queue {name!r} has weight {quote(weight)}; give a whole number from 1 to 1000"
                    )
            self._strides = {name: 1 / weight for name, weight in queues.items()}
            self._turns = dict.fromkeys(queues, 0.0)

    def offer(self, room: int) -> tuple[Room, ...]:
        """What to claim when there is room for so many jobs."""
        if self._strides is None or len(self.names) == 1:
            return tuple(Room(name, room) for name in self.names)
        shares = dict.fromkeys(self.names, 0)
        for _ in range(room):
            name = min(self.names, key=self._turns.__getitem__)
            self._turns[name] += self._strides[name]
            shares[name] += 1
        behind = min(self._turns.values())
        self._turns = {name: turn - behind for name, turn in self._turns.items()}
        first = tuple(Room(name, share) for name, share in shares.items() if share)
        return first + tuple(Room(name, room) for name in sorted(self.names, key=self._turns.__getitem__))
