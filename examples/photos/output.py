"""Where a run of the demo keeps its things, and how old runs are found and deleted."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

__all__ = ["MARKER", "Run", "new_run", "remove_old_runs", "write_whole"]

MARKER = ".photos-demo-run"
"""A file in every run's folder. Cleaning deletes no folder without it, wherever the output is told to go."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run's folder; everything that the demo makes is inside, its job store too."""

    folder: Path

    @property
    def originals(self) -> Path:
        """The pictures that the demo made, if the user gave none."""
        return self.folder / "originals"

    @property
    def gallery(self) -> Path:
        """One folder per photo, named like the photo's file, with the thumbnails and `photo.json`."""
        return self.folder / "gallery"

    @property
    def sheet(self) -> Path:
        """The contact sheet."""
        return self.folder / "contact-sheet.pdf"

    @property
    def mail(self) -> Path:
        """The mails that the demo's SMTP server received."""
        return self.folder / "mail"

    @property
    def store(self) -> Path:
        """The job store, an SQLite file."""
        return self.folder / "jobs.db"

    @property
    def url(self) -> str:
        """The store's URL."""
        return "sqlite:///" + quote(str(self.store))

    @property
    def worker_log(self) -> Path:
        """What the worker printed."""
        return self.folder / "worker.log"


def new_run(root: Path, now: datetime) -> Run:
    """Make a fresh run folder in `root`, named by the time; a second one within the same second gets a number."""
    root.mkdir(parents=True, exist_ok=True)
    name = now.strftime("%Y-%m-%d_%H-%M-%S")
    number = 1
    while True:
        folder = root / (name if number == 1 else f"{name}_{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
            continue
        (folder / MARKER).touch()
        return Run(folder)


def remove_old_runs(root: Path, keep: timedelta, now: datetime) -> list[str]:
    """Delete the runs in `root` that nothing has touched for `keep`; gives their names.

    A run is as old as the newest thing in its folder: one whose store a worker has open is in use, whatever its name
    says.
    """
    if not root.is_dir():
        return []
    oldest = (now - keep).timestamp()
    removed = []
    for marker in sorted(root.glob(f"*/{MARKER}")):
        run = marker.parent
        if max(path.stat().st_mtime for path in run.iterdir()) < oldest:
            shutil.rmtree(run)
            removed.append(run.name)
    return removed


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a scratch file beside `path` and put it in place in one go.

    A job can run twice, even at once, when its worker was given up too early; so nobody ever sees half a file.
    """
    scratch = path.with_name(f".{uuid4().hex}")
    try:
        write(scratch)
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
