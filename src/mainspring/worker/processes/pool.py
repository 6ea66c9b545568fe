"""The processes of one worker: started when there is no idle one, kept warm, replaced when they are worn out."""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from mainspring.errors import InvalidOption, MainspringError, MemoryExceeded, ProcessCrashed
from mainspring.model.options import TaskOptions
from mainspring.model.tracing import Trace
from mainspring.worker.notebook import Notebook
from mainspring.worker.processes import memory, whereabouts
from mainspring.worker.processes.child import Child, Gone, Listener, Program
from mainspring.worker.processes.ends import Stored, outcome_of
from mainspring.worker.processes.orders import Order
from mainspring.worker.processes.whereabouts import MAIN, Whereabouts
from mainspring.worker.run import Interruption, Run

if TYPE_CHECKING:
    from mainspring.task import Task

__all__ = ["Processes", "Wear", "checked"]

logger = logging.getLogger("mainspring.worker")

IDLE_SECONDS = 60.0
"""How long a process is kept that has nothing to do."""
TRIES = 2
"""How many processes are tried, where one ends before it has begun with the job."""
CLOSE_SECONDS = 15.0
"""How long a worker that ends waits for its processes to be gone."""


@dataclass(frozen=True, slots=True)
class Wear:
    """When a process is replaced, after a job."""

    jobs: int | None = None
    """After so many. None: never for that."""
    memory: int = 512 * 1024 * 1024
    """When it keeps more than so many bytes while it has nothing to do."""

    def worn(self, child: Child) -> bool:
        return (self.jobs is not None and child.jobs >= self.jobs) or child.memory > self.memory


class Assignment(Listener):
    """A job on its way through a process; `future` brings the result, or what was raised."""

    def __init__(self, order: Order, run: Run, options: TaskOptions, notebook: Notebook) -> None:
        self.order = order
        self.run = run
        self.future: asyncio.Future[Stored] = asyncio.get_running_loop().create_future()
        self.child: Child | None = None
        self._options = options
        self._notebook = notebook
        self._loop = asyncio.get_running_loop()
        self._stack = ""
        self._interruption: tuple[str, str] | None = None

    # --- for the run ---

    def ask(self, times: int, why: Interruption, text: str) -> bool:
        if why is Interruption.LOST or times > 1:
            return False
        self._interruption = (why.name, text)
        if self.child is not None:
            self.child.interrupt(why.name, text)
        return True

    def warn(self) -> None:
        if self.child is not None:
            self.child.warn()

    def where(self) -> str:
        stood = f". When it was told, it stood at:\n{self._stack}" if self._stack else ""
        return f"its process {self.child.pid if self.child else ''} is killed{stood}"

    # --- for the thread that waits for the process ---

    def with_child(self, child: Child) -> None:
        self.child = child
        if self.run.stopping:
            child.warn()
        if self._interruption is not None:
            child.interrupt(*self._interruption)
        if self.future.cancelled():
            child.kill()

    def begun(self) -> None:
        self._loop.call_soon_threadsafe(self.run.limit, self._options)

    def noted(
        self, percent: float | None, text: str | None, lines: list[str], checkpoint: str | None, output: str
    ) -> None:
        if checkpoint is not None:
            self._notebook.checkpoint(self.run, checkpoint)
        if percent is not None:
            self._notebook.progress(self.run, percent, text)
        for line in lines:
            self._notebook.log(self.run, line)
        if output:
            self._notebook.output(self.run, output)

    def stands(self, stack: str) -> None:
        self._stack = stack


def checked(tasks: Mapping[str, Task[..., Any]], url: str) -> dict[str, Whereabouts]:
    """Where a process finds each of the tasks that are to run in one, by name. Raises `InvalidOption` for those that no
    process could run as they ask."""
    apart = [task for task in tasks.values() if task.options.executor == "process"]
    for task in apart:
        if url.rstrip("/") == "sqlite:":
            raise InvalidOption(
                f'task {task.name!r} has executor="process", and a store in memory is in one process alone: what '
                "the task enqueues would be lost; use a file"
            )
        if task.options.memory is not None and not memory.can_measure():
            raise InvalidOption(
                f"task {task.name!r} has memory=, and this system does not say how much memory a process uses: "
                "it needs /proc, as on Linux; take it away"
            )
    return {task.name: whereabouts.find(task) for task in apart}


class Processes:
    """At most `limit` at once. Used from one event loop; each process has a thread that starts it and waits for it."""

    def __init__(self, limit: int, wear: Wear, url: str, notebook: Notebook, found: Mapping[str, Whereabouts]) -> None:
        """`found`: where a process finds each task, as `checked` gives it."""
        self._limit = limit
        self._wear = wear
        self._url = url
        self._notebook = notebook
        self._waiting: deque[Assignment] = deque()
        self._slots: list[_Slot] = []
        self._idle: list[_Slot] = []
        """The one that was used last is used first, so that those too many get to be idle for long."""
        self._found = found
        self._numbers = itertools.count(1)

    def assign(
        self,
        task: Task[..., Any],
        run: Run,
        options: TaskOptions,
        text: str,
        *,
        each: bool,
        trace: Trace | None = None,
    ) -> Assignment:
        """Have a job run. Cancelling the future kills the process that does so."""
        order = Order(run.claim, self._found[task.name], text, each, options.memory, trace)
        assignment = Assignment(order, run, options, self._notebook)
        assignment.future.add_done_callback(lambda future: self._if_given_up(assignment))
        if self._idle:
            self._idle.pop().take(assignment)
        elif len(self._slots) < self._limit:
            slot = _Slot(next(self._numbers), self._program, self._wear, self._free)
            self._slots.append(slot)
            slot.take(assignment)
        else:
            self._waiting.append(assignment)
        return assignment

    def __len__(self) -> int:
        """How many there are."""
        return len(self._slots)

    def memory(self) -> int:
        """How many bytes they have in use, all together. From any thread."""
        return sum(slot.memory for slot in tuple(self._slots))

    def close(self) -> None:
        """End all processes. Blocking."""
        for slot in self._slots:
            slot.close()
        for slot in self._slots:
            slot.thread.join(CLOSE_SECONDS)

    def _program(self) -> Program:
        return Program.here(
            self._url, with_main=any(MAIN in (where.home, where.module) for where in self._found.values())
        )

    def _free(self, slot: _Slot) -> None:
        """A slot has done what it had to do."""
        while self._waiting:
            assignment = self._waiting.popleft()
            if not assignment.future.cancelled():
                slot.take(assignment)
                return
        self._idle.append(slot)

    def _if_given_up(self, assignment: Assignment) -> None:
        if assignment.future.cancelled() and assignment.child is not None:
            assignment.child.kill()


class _Slot:
    """Room for one process, and the thread that looks after it: it lives longer than the process, which the system
    kills when the thread that has started it ends."""

    def __init__(
        self, number: int, program: Callable[[], Program], wear: Wear, free: Callable[[_Slot], object]
    ) -> None:
        self._program = program
        self._wear = wear
        self._free = free
        self._loop = asyncio.get_running_loop()
        self._inbox: SimpleQueue[Assignment | None] = SimpleQueue()
        self._child: Child | None = None
        self.thread = threading.Thread(target=self._work, name=f"mainspring-process-{number}", daemon=True)
        self.thread.start()

    @property
    def memory(self) -> int:
        child = self._child
        return 0 if child is None else child.memory

    def take(self, assignment: Assignment) -> None:
        self._inbox.put(assignment)

    def close(self) -> None:
        self._inbox.put(None)

    # --- the thread ---

    def _work(self) -> None:
        try:
            while (assignment := self._next()) is not None:
                result: Stored | None = None
                error: BaseException | None = None
                try:
                    if not assignment.future.cancelled():
                        result = self._carry_out(assignment)
                except BaseException as raised:  # noqa: BLE001 - the future brings it to who asked
                    error = raised
                self._loop.call_soon_threadsafe(self._done, assignment, result, error)
                del assignment, result, error
                self._replace_if_worn()
        except RuntimeError:
            pass  # the loop is closed: nobody waits for anything any more
        finally:
            self._drop()

    def _next(self) -> Assignment | None:
        try:
            return self._inbox.get(timeout=None if self._child is None else IDLE_SECONDS)
        except Empty:
            self._drop()
            return self._inbox.get()

    def _carry_out(self, assignment: Assignment) -> Stored:
        how = ""
        for _ in range(TRIES):
            try:
                child = self._ready(assignment.order)
                assignment.with_child(child)
                document = child.run(assignment.order, assignment)
            except Gone as gone:
                self._child, how = None, str(gone)
                if assignment.future.cancelled():
                    break
            except (ProcessCrashed, MemoryExceeded):
                self._child = None
                raise
            except BaseException:
                child.kill()
                self._drop()
                raise
            else:
                return outcome_of(document, assignment.run, assignment.order.memory)
        raise MainspringError(
            f"a process for the job could not be started: it {how}; what it wrote to standard error may say why"
        )

    def _ready(self, order: Order) -> Child:
        child = self._child
        if child is not None:
            # What earlier jobs have left in there must not count against a job with a bound.
            cramped = order.memory is not None and child.jobs and child.memory > order.memory // 2
            if cramped or not child.alive:
                self._drop()
        if self._child is None:
            self._child = Child(self._program())
        return self._child

    def _replace_if_worn(self) -> None:
        if self._child is not None and self._wear.worn(self._child):
            self._drop()

    def _drop(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.close()

    # --- the event loop ---

    def _done(self, assignment: Assignment, result: Stored | None, error: BaseException | None) -> None:
        if not assignment.future.cancelled():
            if error is not None:
                assignment.future.set_exception(error)
            elif result is not None:
                assignment.future.set_result(result)
        self._free(self)
