"""What the demo prints at the end: where the results are, what went wrong, and how to put it right."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rich.console import Console

from examples.photos.output import Run
from examples.photos.worker import APP
from mainspring import Job, State

__all__ = ["report"]


def report(
    console: Console, run: Run, photos: Mapping[str, Job[Any]], mail: Job[Any], to: str, cleaned: list[str]
) -> None:
    """Print the end of the story."""
    dead = [job for job in photos.values() if job.state is State.DEAD]
    sound = [job for job in photos.values() if job.state is State.COMPLETED]
    lines = [
        "",
        f"Results in {_near(run.folder)}",
        f"  {run.gallery.name + '/':<20}{len(sound)} done, three thumbnails each",
        f"  {run.sheet.name:<20}the same on paper, A4",
        f"  {run.mail.name + '/':<20}the mail to {to}, {_tries(mail)}",
    ]
    if cleaned:
        lines.append(f"Cleaned up, as every night: {', '.join(cleaned)}")
    if dead:
        lines += [
            "",
            f"Dead letters: {len(dead)}",
            *(f"  {job.reason}" for job in dead),
            "",
            *_replay(run, dead, sound),
        ]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _tries(mail: Job[Any]) -> str:
    failed = [attempt.error for attempt in mail.attempts if attempt.verdict == "failed" and attempt.error]
    if not failed:
        return "sent at the first try"
    return f"sent after {len(failed)} failed tries ({failed[-1].type}: {failed[-1].message})"


def _replay(run: Run, dead: list[Job[Any]], sound: list[Job[Any]]) -> list[str]:
    """The commands that bring the dead letters back, as they are to be typed in this folder."""
    mainspring = _program()
    url = shlex.quote("sqlite:///" + quote(_near(run.store)))
    good = _photo(sound[0]) if _photo(sound[0]).is_relative_to(run.originals) else Path("GOOD.jpg")
    copies = [f"  cp {_quoted(good)} {_quoted(_photo(job))}" for job in dead]
    return [
        "To replay: put a good picture in the place of each, retry the jobs, and run a worker (Ctrl-C ends it):",
        *copies,
        *(f"  {mainspring} jobs retry {job.id} --url {url}" for job in dead),
        f"  MAINSPRING_URL={url} {mainspring} worker {APP}",
    ]


def _photo(job: Job[Any]) -> Path:
    return Path(job.args["photo"])


def _program() -> str:
    """`mainspring` where the shell finds this environment's; else this Python, which has it."""
    found = shutil.which("mainspring")
    if found and Path(found).parent == Path(sys.executable).parent:
        return "mainspring"
    return f"{_quoted(Path(sys.executable))} -m mainspring"


def _quoted(path: Path) -> str:
    return shlex.quote(_near(path))


def _near(path: Path) -> str:
    """The path from the current folder if it is inside, else the whole."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
