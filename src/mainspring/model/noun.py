"""How nouns are written that every job makes several of.

A frozen dataclass pays for each field of each instance, since it has to go around its own `__setattr__`: a claim takes
three times as long to make as one that is not frozen. Of these few nouns millions are made, and nothing but the making
of them was a tenth of what a job costs a worker. So they are frozen for the type checker, and for readers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

__all__ = ["noun"]

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def noun(cls: type[T]) -> type[T]:
    """A dataclass with slots, equal by its values. Nobody writes to it: type checkers take care of that."""
    return dataclass(slots=True, unsafe_hash=True)(cls)
