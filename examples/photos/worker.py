"""The demo's worker: a real `mainspring worker` process, as it would run in production."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["APP", "ROOT", "Trouble", "Worker", "run_worker"]

APP = "examples.photos.app:app"
ROOT = Path(__file__).resolve().parents[2]
"""The folder from which `examples.photos` can be imported."""

GRACE_SECONDS = 40
"""Longer than a worker's own grace period, so that it is killed only if it hangs."""


class Trouble(Exception):
    """Something that the demo did not expect; its text is for the user."""


class Worker:
    """The process, and the file that has what it printed."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log

    def check(self) -> None:
        """Raise `Trouble`, with the end of its output, if the worker is no longer there."""
        code = self._process.poll()
        if code is not None:
            output = self._log.read_text(errors="replace").splitlines()[-20:]
            raise Trouble("\n".join([f"the worker ended by itself with exit code {code}; its last lines:", *output]))

    def stop(self) -> None:
        """Ask it to stop gracefully and wait until it has."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise Trouble(f"the worker did not stop within {GRACE_SECONDS} s and was killed; see {self._log}") from None
        except BaseException:  # a second Ctrl-C: whoever asks twice does not want to wait
            self._process.kill()
            raise


PR_SET_PDEATHSIG = 1


def _end_with_the_demo() -> None:
    """Also one that is killed leaves no worker behind: Linux sends it this when its parent dies, however that dies."""
    with suppress(AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


@contextmanager
def run_worker(
    log: Path, settings: Mapping[str, str], concurrency: int, app: str = APP, options: Sequence[str] = ()
) -> Iterator[Worker]:
    """Start a worker of `app` with `settings` in its environment; stop it when the block ends, however it ends."""
    command = [sys.executable, "-m", "mainspring", "worker", app, "-c", str(concurrency), *options]
    with log.open("wb") as output:
        # In a session of its own, so that Ctrl-C reaches the demo alone, which then stops it in good order.
        process = subprocess.Popen(  # noqa: S603
            command,
            cwd=ROOT,
            env={**os.environ, **settings},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_end_with_the_demo,  # no thread runs yet
        )
    worker = Worker(process, log)
    try:
        yield worker
    finally:
        worker.stop()
