"""Hints by pub/sub: which channel a topic has, and which of them a connection is subscribed to.

A script publishes `{namespace}:hint:queue:NAME` or `{namespace}:hint:job:ID`, whatever is in it. Names are anybody's
text, so channels are subscribed to by their exact names, never by patterns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any

from mainspring.store.redis.greeting import Command

__all__ = ["Subscriptions", "channel"]

AT_ONCE = 500
"""How many channels are named in one command."""


def channel(tag: str, topic: str) -> str:
    """The channel of a topic (`queue:NAME`, `job:ID`)."""
    return f"{tag}:hint:{topic}"


class Subscriptions:
    """What one connection is to listen to, and what it does listen to, as far as the server has said so."""

    def __init__(self) -> None:
        self._wanted: Counter[str] = Counter()
        self._asked: set[str] = set()
        self._unconfirmed: Counter[str] = Counter()
        """What was asked for and not yet answered, however often."""

    def add(self, channels: Collection[str]) -> None:
        """Somebody wants to hear these."""
        self._wanted.update(channels)

    def drop(self, channels: Iterable[str]) -> None:
        """Somebody does not want to hear these any more."""
        for name in channels:
            _less(self._wanted, name)

    def forget(self) -> None:
        """The connection is gone: nothing is listened to."""
        self._asked.clear()
        self._unconfirmed.clear()

    def changes(self) -> list[Command]:
        """What to send, so that what is wanted is listened to and nothing else is."""
        missing, extra = self._wanted.keys() - self._asked, self._asked - self._wanted.keys()
        self._asked |= missing
        self._asked -= extra
        self._unconfirmed.update(missing)
        return [*_commands("SUBSCRIBE", sorted(missing)), *_commands("UNSUBSCRIBE", sorted(extra))]

    def has(self, channels: Iterable[str]) -> bool:
        """Whether the server has confirmed all of these."""
        return all(name in self._asked and name not in self._unconfirmed for name in channels)

    def heard(self, reply: Any) -> str | None:
        """The channel of a message; None for an answer to something that was sent."""
        match reply:
            case ["message", str(name), *_]:
                return name
            case ["subscribe", str(name), *_]:
                _less(self._unconfirmed, name)
        return None


def _commands(word: str, channels: list[str]) -> Iterable[Command]:
    return ((word, *channels[first : first + AT_ONCE]) for first in range(0, len(channels), AT_ONCE))


def _less(counter: Counter[str], name: str) -> None:
    """One less of it; of none, nothing is remembered."""
    counter[name] -= 1
    if counter[name] <= 0:
        del counter[name]
