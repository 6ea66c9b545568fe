"""What every request is."""

from __future__ import annotations

from typing import ClassVar, Generic, TypeVar

Reply = TypeVar("Reply")


class Request(Generic[Reply]):
    """What an operation takes. The type parameter is what it gives; `operation` names the store's method."""

    __slots__ = ()
    operation: ClassVar[str]
    now: int | None
