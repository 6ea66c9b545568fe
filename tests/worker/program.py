"""A program with tasks that run in processes: a module, since a process finds its tasks by importing them."""

from __future__ import annotations

import importlib
import itertools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from mainspring import Mainspring

TASKS = '''
import asyncio, ctypes, dataclasses, logging, os, signal, sys, threading, time
from pathlib import Path
from mainspring import *
from mainspring.errors import *

app = Mainspring({url!r}, encryption_keys=["c2l4dHkgZm91ciBzcXVhcmVzIG9uIGEgY2hlc3Nib2E"])
HERE = Path({folder!r})
task = app.task(executor="process", retry=1)

def note(name):
    with open(HERE / name, "a") as file:
        file.write(f"{{os.getpid()}}\\n")

@task
def where(n: int) -> list[int]:
    return [n, os.getpid(), os.getppid()]

@task
def charged(card: Encrypted[str]) -> int:
    return len(card)

@app.task(retry=1)
def on_thread() -> None:
    while True:
        time.sleep(0.01)

@task
def nap(seconds: float) -> int:
    note("napping")
    time.sleep(seconds)
    return os.getpid()

@task
def waits_for_go() -> int:
    note("waiting")
    while not (HERE / "go").exists():
        time.sleep(0.01)
    return os.getpid()

@task
def segfault() -> None:
    ctypes.string_at(0)

@task
def leave(status: int) -> None:
    os._exit(status)

@task
def charge(ctx: Context, how: str, card: Secret[str]) -> int:
    ctx.progress(10, f"charging {{card}}")
    ctx.log(f"the card is {{card!r}}")
    match how:
        case "raise":
            raise ValueError(f"bad card {{card}}")
        case "bury":
            raise Bury(f"no card {{card}}")
        case "later":
            raise RetryAfter(60) from ValueError(f"not now {{card}}")
    return card

@app.task(executor="process", memory="150MB", retry=1)
def hog(chunks: int, chunk: int) -> int:
    held = []
    for _ in range(chunks):
        held.append(b"x" * chunk)
        time.sleep(0.01)
    return len(held)

@app.task(executor="process", timeout="300ms", grace="300ms", retry=1)
def spin() -> None:
    while True:
        pass

@app.task(executor="process", timeout="300ms", grace="300ms", retry=1)
def deaf() -> None:
    while True:
        try:
            while True:
                time.sleep(0.01)
        except BaseException:
            pass

@app.task(executor="process", timeout="300ms", grace="300ms", retry=1)
def in_c() -> None:
    """One step of Python's that takes hours, and holds its lock all the while."""
    sum(range(10 ** 13))

@app.task(executor="process", timeout="2s", grace="20s", retry=1)
def tidy(ctx: Context) -> None:
    try:
        time.sleep(60)
    finally:
        ctx.log(f"tidied, cancelled={{ctx.cancelled}}")

@app.task(executor="process", timeout="300ms", retry=1)
async def waits() -> None:
    await asyncio.sleep(60)

@app.task(executor="process", retry=1)
async def doubled(n: int) -> int:
    await asyncio.sleep(0.01)
    return 2 * n

@app.task(executor="process", grace="500ms")
def endless(ctx: Context, how: str) -> None:
    note("endless")
    while not (how == "looks" and ctx.cancelled):
        try:
            time.sleep(0.01)
        except BaseException:
            if how != "deaf":
                raise

@app.task(executor="process")
def turns_it_into_an_error(ctx: Context) -> None:
    note("turning")
    try:
        time.sleep(600)
    except BaseException:
        raise ConnectionError("cut off") from None

@task
def leaves_one_behind() -> int:
    """A forked child holds the connection open, and this process ends."""
    if os.fork() == 0:
        note("left")
        time.sleep(600)
    while not (HERE / "left").exists():
        time.sleep(0.01)
    os._exit(3)

@task
def says(ctx: Context, lines: int) -> str:
    for n in range(lines):
        ctx.log(f"line {{n}}")
        ctx.output(f"{{n}} ")
        ctx.progress(100 * n / lines, f"at {{n}}")
    note("said")
    while not (HERE / "go").exists():
        time.sleep(0.01)
    ctx.progress(100, "done")
    return f"{{current().job.id}} {{ctx.attempt}} {{ctx.fence}} {{ctx.job.task}}"

@task
def spawns(ctx: Context, n: int) -> int:
    ctx.spawn(*(doubled.job(i) for i in range(n)))
    return n

@task
def sees_parents(ctx: Context, given: int) -> list[object]:
    return [given, *(parent.state for parent in ctx.parents)]

@task
def enqueues() -> str:
    return doubled.enqueue(21).id

@dataclasses.dataclass
class Point:
    x: int
    y: int

@task
def mirrored(point: Point) -> Point:
    return Point(point.y, point.x)

@task
def odd(kind: str) -> object:
    if kind == "surrogate":
        return "\\ud800 and \\0"
    if kind == "lambda":
        return lambda: None
    if kind == "large":
        return "x" * 900_000
    raise AssertionError(kind)

class Hostile(Exception):
    def __str__(self):
        raise SystemExit("no")
    def __reduce__(self):
        raise TypeError("not to be pickled")

@task
def raises(kind: str) -> None:
    error = {{
        "value": ValueError("\\ud800 is odd"), "hostile": Hostile(), "exit": SystemExit(3),
        "lock": LookupError(threading.Lock()),
        "bury": Bury("enough"), "cancel": Cancel("withdrawn"), "snooze": Snooze("10m", "later"),
        "interrupt": KeyboardInterrupt(), "group": ExceptionGroup("two", [ValueError(1), KeyError(2)]),
        "cancelled": asyncio.CancelledError(),
    }}[kind]
    raise error

def longer(attempt, error):
    return 100 * error.args[0]

@app.task(executor="process", retry=Retry(attempts=3, delay=longer, jitter=False, max_delay="1d", on=LookupError))
def ruled(kind: str, n: int = 1) -> None:
    raise {{"lookup": KeyError, "value": ValueError}}[kind](n)

@app.task(executor="process", retry=Retry(attempts=3))
def later() -> None:
    raise RetryAfter("5m") from OSError("busy")

@task
def completes(ctx: Context) -> None:
    ctx.complete("done", tx=object())

@task
def grows(megabytes: int) -> int:
    global kept
    kept = [b"x" * 1024 * 1024 for _ in range(megabytes)]
    return os.getpid()

@app.task(executor="process", grace="500ms", retry=1)
def starts_another() -> int:
    import subprocess
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    (HERE / "grandchild").write_text(str(child.pid))
    note("started")
    time.sleep(600)

@task
def talks() -> None:
    print("to standard output")
    print("to standard error", file=sys.stderr)
    logging.getLogger("shop").warning("to the log")
'''

_numbers = itertools.count(1)


@contextmanager
def program(folder: Path, url: str | None = None, text: str = TASKS) -> Iterator[Any]:
    """That module, imported from `folder`."""
    name = f"program_{next(_numbers)}"
    url = url or f"sqlite:///{folder / 'jobs.db'}"
    (folder / f"{name}.py").write_text(text.format(url=url, folder=str(folder)))
    sys.path.insert(0, str(folder))
    try:
        module = importlib.import_module(name)
        yield module
        app: Mainspring = module.app
        app.close()
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop(name, None)


def noted(folder: Path, name: str) -> list[int]:
    """The processes that wrote a note of that name."""
    path = folder / name
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def gone(pid: int) -> bool:
    """Whether there is no such process any more."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def children() -> list[int]:
    """The processes of this one that run jobs; a server of the tests may be another."""
    mine = (child for child in psutil.Process().children() if not gone(child.pid))
    return [child.pid for child in mine if any("mainspring.worker.processes" in word for word in child.cmdline())]
