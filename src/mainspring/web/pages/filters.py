"""Which jobs a page shows or changes, as its address says it and as `app.jobs` takes it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import cast

from starlette.datastructures import FormData, QueryParams

from mainspring.admin.jobs import Where
from mainspring.errors import InvalidOption
from mainspring.model.durations import to_ms
from mainspring.model.states import State
from mainspring.model.text import quote

__all__ = ["Chosen", "moment_of"]


@dataclass(frozen=True, slots=True)
class Chosen:
    """Conditions on jobs, as texts."""

    state: tuple[str, ...] = ()
    queue: str = ""
    partition: str = ""
    task: str = ""
    flow: str = ""
    tag: str = ""
    text: str = ""
    since: str = ""
    until: str = ""
    ids: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def of(cls, given: QueryParams | FormData) -> Chosen:
        """What an address or a form says. Unknown states are left out."""

        def one(name: str) -> str:
            value = given.get(name, "")
            return value.strip() if isinstance(value, str) else ""

        states = tuple(each for each in State if each.value in given.getlist("state"))
        names = ("queue", "partition", "task", "flow", "tag", "text", "since", "until")
        ids = tuple(each for each in given.getlist("id") if isinstance(each, str) and each)
        return cls(state=states, ids=ids, **{name: one(name) for name in names})

    @property
    def query(self) -> dict[str, object]:
        """As an address says it."""
        return {name: value for name, value in asdict(self).items() if value and name != "ids"}

    @property
    def is_everything(self) -> bool:
        """Whether no condition is set."""
        return not self.query

    def but(self, **changed: object) -> dict[str, object]:
        """The query with some of it changed."""
        return self.query | changed

    def where(self, zone: tzinfo = UTC) -> Where:
        """As `app.jobs` takes it. Raises `InvalidOption`, `InvalidDuration` for times that cannot be read."""
        where: Where = {}
        if self.state:
            where["state"] = tuple(State(each) for each in self.state)
        if self.queue:
            where["queue"] = self.queue
        if self.partition:
            where["partition"] = self.partition
        if self.task:
            where["task"] = self.task
        if self.flow:
            where["flow"] = self.flow
        if self.since:
            where["since"] = moment_of(self.since, zone)
        if self.until:
            where["until"] = moment_of(self.until, zone)
        more = {"tag": self.tag, "text": self.text}
        return cast("Where", {**where, **{name: value for name, value in more.items() if value and name in _KNOWN}})


_KNOWN = Where.__annotations__


def moment_of(text: str, zone: tzinfo) -> str | datetime:
    """A point in time as people write it: "2h" (ago), "2031-05-01 09:30" (by the reader's clock). Raises
    `InvalidOption`."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        try:
            to_ms(text)
        except ValueError:
            raise InvalidOption(f'time {quote(text)} cannot be read; write "2h", or "2031-05-01 09:30"') from None
        return text
    return at if at.tzinfo else at.replace(tzinfo=zone)
