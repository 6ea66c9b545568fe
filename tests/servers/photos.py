"""The photo example's page as its user starts it: a process of its own, with a worker, on a free port."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

__all__ = ["PhotoSite", "kill", "lives", "photo_site", "wait_for"]

ROOT = Path(__file__).resolve().parents[2]


class PhotoSite:
    """One that runs."""

    def __init__(self, process: subprocess.Popen[str], out: Path, url: str) -> None:
        self.process = process
        self.out = out
        self.url = url
        """Of its front page, without a slash at the end."""

    @property
    def store(self) -> str:
        """The URL of its job store."""
        return f"sqlite:///{self.out}/jobs.db"

    @property
    def family(self) -> list[psutil.Process]:
        """The worker's processes."""
        return psutil.Process(self.process.pid).children(recursive=True)


@contextmanager
def photo_site(out: Path, *arguments: str) -> Iterator[PhotoSite]:
    """Start it with its things in `out`, killed if the block ends before it does."""
    command = [sys.executable, "-m", "examples.photos.web", "--out", str(out), *(arguments or ("--port", "0"))]
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PHOTOS", "PORT", "MAINSPRING"))
    }
    environment["PHOTOS_CAMERA"] = "640x480"
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        family = psutil.Process(process.pid)
        try:
            assert process.stdout is not None
            said = re.search(r"http://\S+?(?=/?\s)", process.stdout.readline())
            yield PhotoSite(process, out, said[0] if said else "")
        finally:
            if process.poll() is None:
                kill([*family.children(recursive=True), family])


def kill(processes: Iterable[psutil.Process]) -> None:
    """One after the other; the death of one may have ended the next."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def lives(process: psutil.Process) -> bool:
    """Whether it still does anything; that nobody has waited for it yet is not its fault."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for(condition: Callable[[], object], seconds: float = 100) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
