"""Who acts, and the audit log that his actions leave in the store.

    with acting("ada"):
        app.queues.pause("email")

Whoever stands between people and the operators' door (the command line, the web) says for whom it acts. Code that acts
for nobody, as a task that retries another job does, writes no entry.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, TypeVar

from mainspring.clock import moment, new_id
from mainspring.errors import MainspringError, StoreError
from mainspring.model.audit import AuditEntry
from mainspring.model.limits import KEEP, Keep
from mainspring.model.options import check_name
from mainspring.model.text import clean, cut
from mainspring.store.base import Change, ConfigureRequest, Filter
from mainspring.twin import Steps, ask

__all__ = ["IDS_KEPT", "acting", "actor", "audited", "change", "new_entry", "selection"]

T = TypeVar("T")

DETAIL_LENGTH = 8_000
"""How much JSON text an entry keeps of what was said."""
TARGET_LENGTH = 500
IDS_KEPT = 100

_actor: ContextVar[str | None] = ContextVar("mainspring_actor", default=None)


@contextmanager
def acting(name: str | None) -> Iterator[None]:
    """What is done inside, on this thread or in this task, is done by `name`: its entries in the audit log say so.

    None: it is the program's own doing, and leaves none. Raises `InvalidOption` for what cannot be a name.
    """
    token = _actor.set(None if name is None else check_name("actor", name))
    try:
        yield
    finally:
        _actor.reset(token)


def actor() -> str | None:
    """Who acts now; None: nobody, it is the program itself."""
    return _actor.get()


def audited(
    action: str,
    target: str,
    detail: Mapping[str, Any],
    steps: Steps[T],
    count: Callable[[T], int] = lambda _: 1,
    tx: object | Keep = KEEP,
) -> Steps[T]:
    """Take these steps; where somebody acts, write an entry before them, and with their count after them."""
    entry = new_entry(action, target, detail)
    if entry is None:
        return (yield from steps)
    yield from ask(ConfigureRequest(audit=entry), tx)
    try:
        done = yield from steps
    except StoreError:
        # How far it came is not known.
        raise
    except MainspringError:
        yield from ask(ConfigureRequest(audit=replace(entry, count=0)), tx)
        raise
    yield from ask(ConfigureRequest(audit=replace(entry, count=int(count(done)))), tx)
    return done


def change(change: Change, action: str, target: str, detail: Mapping[str, Any]) -> Steps[bool]:
    """Change a setting, and write its entry with it. False: there is nothing of that name."""
    settings = yield from ask(ConfigureRequest((change,), audit=new_entry(action, target, detail)))
    return settings.changed > 0


def selection(where: Filter) -> tuple[str, dict[str, Any]]:
    """Which jobs, as an entry says it: in words, and in detail."""
    said: dict[str, Any] = {
        "state": [state.value for state in where.states],
        "queue": where.queue,
        "partition": where.partition,
        "task": where.task,
        "flow": where.flow,
        "text": where.text,
        "tag": where.tag,
        "since": _time(where.since),
        "until": _time(where.until),
    }
    words = [f"{name}={','.join(value) if isinstance(value, list) else value}" for name, value in said.items() if value]
    match where.ids:
        case ():
            pass
        case (id,):
            words.insert(0, id)
        case ids:
            words.insert(0, f"{len(ids):,} jobs")
            said["ids"] = ids[:IDS_KEPT]
    return " ".join(words), said


def _time(ms: int | None) -> str | None:
    return None if ms is None else moment(ms).isoformat(timespec="milliseconds")


def new_entry(action: str, target: str, detail: Mapping[str, Any], id: str | None = None) -> AuditEntry | None:
    """What the one who acts now does; with the id of an entry that is there, that one as it is to be now. None: nobody
    acts."""
    name = _actor.get()
    if name is None:
        return None
    return AuditEntry(id or new_id(), name, action, cut(clean(target), TARGET_LENGTH), _text(detail))


def _text(detail: Mapping[str, Any]) -> str:
    """What was said, as JSON: of what is too long, how long it is."""
    said = {name: value for name, value in detail.items() if value not in (None, "", (), [])}
    text = json.dumps(said, default=str)
    if len(text) > DETAIL_LENGTH:
        text = json.dumps({name: _short(value) for name, value in said.items()}, default=str)
    return text if len(text) <= DETAIL_LENGTH else "{}"


def _short(value: Any) -> Any:
    text = json.dumps(value, default=str)
    return value if len(text) <= 1000 else f"({len(text):,} characters)"
