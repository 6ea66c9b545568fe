"""An app on a file of its own, and hands that do to its jobs what a worker would, one step at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mainspring import Mainspring, Retry
from mainspring.clock import new_id
from mainspring.model.failure import describe
from mainspring.model.job import Claim, LogLine, Note
from mainspring.model.outcome import Outcome
from mainspring.model.transitions import decide
from mainspring.store.base import (
    BeatReply,
    BeatRequest,
    ClaimRequest,
    Driver,
    NoteRequest,
    Presence,
    Request,
    Room,
    SettleRequest,
)
from mainspring.store.sqlite import connection


@dataclass
class Hands:
    """A worker's requests, without a worker."""

    driver: Driver
    id: str

    def beat(self) -> BeatReply:
        return self.driver.run(self._beat("stay"))

    def join(self) -> None:
        self.driver.run(self._beat("join"))

    def claim(self, queue: str = "default") -> Claim:
        (claim,) = self.driver.run(ClaimRequest(self.id, (Room(queue, 1),), 1)).claims
        return claim

    def note(self, claim: Claim, progress: float, text: str, line: str) -> None:
        note = Note(claim.id, claim.lease, progress, text, (LogLine(claim.started_at + 5, line),))
        assert self.driver.run(NoteRequest((note,)))

    def settle(self, claim: Claim, outcome: Outcome, retry: Retry | None = None) -> None:
        settlement = decide(claim, outcome, claim.started_at + 10, retry=retry or Retry())
        assert self.driver.run(SettleRequest((settlement,)))

    def complete(self, result: str = "null", queue: str = "default") -> None:
        self.settle(self.claim(queue), Outcome.completed(result))

    def kill(self, error: Exception, queue: str = "default") -> None:
        self.settle(self.claim(queue), Outcome.failed(describe(error), error), Retry(attempts=1))

    def _beat(self, phase: str) -> Request[BeatReply]:
        presence = Presence(self.id, "hands", ("default",), ("add",), 10, 0, 60_000)
        return BeatRequest(presence, phase)  # type: ignore[arg-type]


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Mainspring]:
    with Mainspring(f"sqlite:///{tmp_path}/jobs.db") as app:
        yield app


@pytest.fixture
def patient_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many threads write to one file at once, on a machine and a disk that others keep busy: no writer gives up."""
    monkeypatch.setattr(connection, "OPERATION_DEADLINE", 100.0)


@pytest.fixture
def hands(app: Mainspring) -> Iterator[Hands]:
    driver = app.store.driver()
    hands = Hands(driver, new_id())
    hands.join()
    yield hands
    driver.close()
