"""A sweep as a text that whoever asks carries from one request to the next: signed, so that it is one of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from hashlib import sha256
from typing import Any

from itsdangerous import BadData, URLSafeSerializer

from mainspring.errors import InvalidOption
from mainspring.model.states import State
from mainspring.store.base import Filter, Verb
from mainspring.sweeps import Sweep

__all__ = ["carried", "read_carried"]

LONGEST = 20_000
"""No text of ours has more characters."""


def _signer(secret: str) -> URLSafeSerializer:
    return URLSafeSerializer(
        secret, salt="mainspring.sweep", signer_kwargs={"key_derivation": "hmac", "digest_method": sha256}
    )


def carried(sweep: Sweep, secret: str, asked: str = "") -> str:
    """The text of a sweep, as the answer to what was `asked`."""
    said = {name: value for name, value in asdict(sweep).items() if value}
    said["where"] = {name: value for name, value in said["where"].items() if value not in (None, ())}
    return str(_signer(secret).dumps([_digest(asked), said]))


def read_carried(text: str, secret: str, asked: str = "") -> Sweep:
    """The sweep that was written. Raises `InvalidOption` for a text that is none of ours, or answers something else."""
    try:
        question, said = _signer(secret).loads(text)
        sweep = _sweep(said)
    except (BadData, ValueError, TypeError, KeyError):
        raise InvalidOption("cursor: it is not one that was given here; begin without one") from None
    if question != _digest(asked):
        raise InvalidOption("cursor: it was given for another request; send the same again with it, or begin without")
    return sweep


def _digest(asked: str) -> str:
    return sha256(asked.encode()).hexdigest()[:32]


def _sweep(said: Mapping[str, Any]) -> Sweep:
    where = said["where"]
    states = tuple(map(State, where.get("states", ())))
    counts = {State(state): count for state, count in said.get("counts", {}).items()}
    more = {"verb": Verb(said["verb"]), "where": Filter(**where | {"states": states}), "counts": counts}
    return Sweep(**{**said, **more, "exact": said.get("exact", False)})
