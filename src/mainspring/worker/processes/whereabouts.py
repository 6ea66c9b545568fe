"""How another process finds a task: the module to import, and the global in it that is the task, or its app."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from mainspring.errors import InvalidOption

if TYPE_CHECKING:
    from mainspring.task import Task

__all__ = ["MAIN", "Whereabouts", "find", "load"]

MAIN = "__main__"


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Import `home` (where the function is) and `module`; its `attribute` is the task, or the app that has it."""

    name: str
    home: str
    module: str
    attribute: str


def find(task: Task[..., Any]) -> Whereabouts:
    """Where a process that imports this program's modules finds the task. Raises `InvalidOption`: nowhere."""
    home = getattr(task.function, "__module__", None) or ""
    for module in _modules(home):
        for wanted in (task, task._app):
            for attribute, value in list(vars(module).items()):
                if value is wanted:
                    return Whereabouts(task.name, home, module.__name__, attribute)
    raise InvalidOption(
        f'task {task.name!r} has executor="process", and a process of its own could not find it: it imports '
        f"{home or 'its module'} and looks for the task or its app among the globals there; make one of them a global"
    )


def load(where: Whereabouts) -> Task[..., Any]:
    """The task, in this process. Raises what the user's modules raise, and `InvalidOption` where it is not there."""
    if where.home:
        importlib.import_module(where.home)
    found = getattr(importlib.import_module(where.module), where.attribute, None)
    tasks = getattr(found, "tasks", None)
    task: Task[..., Any] | None = found if tasks is None else tasks.get(where.name)
    if task is None or getattr(task, "name", None) != where.name:
        raise InvalidOption(
            f"task {where.name!r} is not to be found in {where.module}.{where.attribute}, as imported by the process "
            "that is to run it; is it registered only under some condition?"
        )
    return task


def _modules(home: str) -> Iterator[ModuleType]:
    """Those of this program, the likeliest first."""
    for name in dict.fromkeys((home, MAIN, *list(sys.modules))):
        module = sys.modules.get(name)
        if isinstance(module, ModuleType) and module.__name__ == name:
            yield module
