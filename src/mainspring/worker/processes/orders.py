"""An order: which job a process is to run."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pydantic

from mainspring.model.job import Claim
from mainspring.worker.processes.whereabouts import Whereabouts

__all__ = ["Order"]


@dataclass(frozen=True, slots=True)
class Order:
    """`text` are the arguments, results of parents filled in; `each`: the job runs its function for each of them;
    `trace`: what the run is a part of, for who follows it."""

    claim: Claim
    task: Whereabouts
    text: str
    each: bool = False
    memory: int | None = None
    trace: Mapping[str, str] | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Order:
        return _form().validate_python(document)


@functools.cache
def _form() -> pydantic.TypeAdapter[Order]:
    return pydantic.TypeAdapter(Order)
