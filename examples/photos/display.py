"""What the demo shows while it waits: live bars in a terminal, plain lines anywhere else."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Protocol, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn
from rich.table import Column

from mainspring import Job, State

__all__ = ["Display", "display_for", "trouble"]


class Display(Protocol):
    """Shows how named jobs come along; used as a context manager."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, name: str, job: Job[Any]) -> None:
        """The job as it is now."""

    def count(self, ended: int, total: int) -> None:
        """How many photos have ended."""


def display_for(console: Console) -> Display:
    """Bars where they can move, else lines."""
    return Bars(console) if console.is_terminal and not console.is_dumb_terminal else Lines(console)


def trouble(job: Job[Any]) -> str:
    """Why the job is dead, was cancelled, or has to be tried again, on one line."""
    words = (job.reason or "") if job.finished_at else ""
    if job.error and job.error.message not in words:
        words = f"{words}: {job.error.type}: {job.error.message}".removeprefix(": ")
    return " ".join(words.split())


class Lines:
    """A line for every try that failed, and one when the job has ended."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._failures: dict[str, int] = {}
        self._ended: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def show(self, name: str, job: Job[Any]) -> None:
        """Print what is new about the job, if it is worth a line."""
        failed = [attempt for attempt in job.attempts if attempt.verdict == "failed"]
        for attempt in failed[self._failures.get(job.id, 0) :]:
            self._say("failed", f"{name}, try {attempt.number}: {attempt.error.message if attempt.error else ''}")
        self._failures[job.id] = len(failed)
        if job.finished_at and job.id not in self._ended:
            self._ended.add(job.id)
            self._say(job.state, name if job.state is State.COMPLETED else f"{name}: {trouble(job)}")

    def count(self, ended: int, total: int) -> None:
        """Print nothing: the lines can be counted."""

    def _say(self, what: str, text: str) -> None:
        self._console.print(f"  {what:<10}{text}", markup=False, highlight=False, soft_wrap=True)


class Bars:
    """A bar per job and one for all photos. Where not all bars fit the screen, those of ended jobs go."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", table_column=Column(width=24, no_wrap=True, overflow="ellipsis")),
            BarColumn(20),
            TaskProgressColumn(),
            TextColumn("{task.fields[stage]}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
            console=console,
            expand=True,
        )
        self._room = max(3, console.size.height - 4)
        self._bars: dict[str, TaskID] = {}
        self._ended: list[TaskID] = []
        self._overall: TaskID | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, name: str, job: Job[Any]) -> None:
        """Move the job's bar. A job that has not begun has none yet."""
        if job.id not in self._bars:
            if job.started_at is None:
                return
            self._bars[job.id] = self._progress.add_task(escape(name), total=100, stage="")
        bar = self._bars[job.id]
        if job.state is State.COMPLETED:
            self._progress.update(bar, completed=100, stage="[green]completed[/]")
        elif job.finished_at:
            self._progress.update(bar, stage=f"[red]{job.state}[/] {escape(trouble(job))}")
        elif job.state is State.RUNNING:
            tries = f" (try {job.attempt})" if job.attempt > 1 else ""
            self._progress.update(bar, completed=int(job.progress or 0), stage=escape(job.progress_text or "") + tries)
        elif job.error:
            self._progress.update(bar, stage=f"[yellow]again soon[/] {escape(trouble(job))}")
        if job.finished_at:
            self._end(bar)

    def count(self, ended: int, total: int) -> None:
        """Move the bar of all photos."""
        if self._overall is None:
            self._overall = self._progress.add_task("[bold]all photos[/]", total=total, stage="")
        self._progress.update(self._overall, completed=ended, stage=f"{ended} of {total}")

    def _end(self, bar: TaskID) -> None:
        self._ended.append(bar)
        while self._ended and len(self._progress.task_ids) > self._room:
            self._progress.remove_task(self._ended.pop(0))
