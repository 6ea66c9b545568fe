"""Which jobs are meant."""

from __future__ import annotations

from dataclasses import dataclass

from mainspring.model.states import State


@dataclass(frozen=True, slots=True)
class Filter:
    """Which jobs: all conditions must hold, an empty one holds for every job.

    `since` and `until` bound the time at which the job entered the store's present view of it: `finished_at` for final
    jobs, `created_at` for live ones (both bounds inclusive).
    """

    ids: tuple[str, ...] = ()
    states: tuple[State, ...] = ()
    queue: str | None = None
    task: str | None = None
    since: int | None = None
    until: int | None = None
    partition: str | None = None
    flow: str | None = None
    """Jobs of that flow and of the flows that are a part of it."""
    text: str | None = None
    """Jobs with that in the text of their arguments (JSON, as it is stored), of which the first `TEXT_SEARCHED`
    characters are looked at, or bytes; capital letters of ASCII are taken for small ones."""
    tag: str | None = None
    """Jobs with that among the tags in their options."""

    @property
    def reads_rows(self) -> bool:
        """Whether the jobs themselves have to be looked at, and no index says whether they fit."""
        return self.text is not None or self.tag is not None
