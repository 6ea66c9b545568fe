"""Other processes, for tests of what processes do to each other. All are forks, so functions need no name."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from multiprocessing.queues import SimpleQueue
from typing import Any

import pytest

__all__ = ["PATIENCE", "elsewhere", "fork", "forks", "running"]

fork = multiprocessing.get_context("fork")

forks = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")

PATIENCE = 60.0
"""Seconds after which a process is taken to hang."""

NOBODY = 65534


@contextmanager
def running(*functions: Callable[[], object]) -> Iterator[Sequence[BaseProcess]]:
    """One process for each function; at the end all of them must have returned, if they were not killed here."""
    processes = [fork.Process(target=function) for function in functions]
    for process in processes:
        process.start()
    try:
        yield processes
        for process in processes:
            process.join(PATIENCE)
            assert process.exitcode is not None, "a process that hangs"
            assert process.exitcode <= 0, "a process failed; its traceback is in the captured output"
    finally:
        for process in processes:
            process.kill()
            process.join()
            process.close()


def elsewhere(function: Callable[[], Any], *, as_nobody: bool = False) -> str:
    """What `function` gives in another process, as text, or its error as "StoreBusy: what it says".

    `as_nobody`: permissions do not bind root, so there it runs as a user who is not.
    """
    answers: SimpleQueue[str] = fork.SimpleQueue()

    def perform() -> None:
        if as_nobody and os.geteuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        try:
            answer = str(function())
        except Exception as error:
            answer = f"{type(error).__name__}: {error}"
        answers.put(answer)

    with running(perform):
        return answers.get()
