"""From `module:app`, or a URL, to the app that a command works on."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote

from mainspring.app import Mainspring
from mainspring.cli.output import warn
from mainspring.errors import ConfigurationError, MainspringError, StoreUnavailable

__all__ = ["ImportFailed", "Place", "load_app", "store_file"]


class ImportFailed(MainspringError):
    """The user's own code failed while it was imported."""


@dataclass(frozen=True, slots=True)
class Place:
    """Which app or store a command works on, as far as the command line and the environment say.

    In this order: what the command names, what `mainspring --app/--url` names, $MAINSPRING_APP, $MAINSPRING_URL, and
    last the file mainspring.db in the current folder.
    """

    app: str | None = None
    url: str | None = None

    def or_else(self, outer: Place) -> Place:
        """This place, or the outer one where this names none. Raises `ConfigurationError` where it names two."""
        if self.app and self.url:
            raise ConfigurationError("both --app and --url are given; an app has its own store, so give one of them")
        return self if self.app or self.url else outer

    def named_app(self) -> str | None:
        """The `module:app` to import; None: no app is named."""
        return self.app or (None if self.url else os.environ.get("MAINSPRING_APP") or None)

    def open(self) -> Mainspring:
        """The app, for commands that may create its store."""
        target = self.named_app()
        return load_app(target) if target else Mainspring(self.url)

    def open_existing(self) -> Mainspring:
        """The app, for commands that make no sense without a store: none is created by a look at it."""
        app = self.open()
        status = app.store.schema()
        if not status.found:
            makes = "the first enqueue or worker makes it, or" if status.automatic else "it is made by"
            raise StoreUnavailable(
                f"there is no store at {app.url} yet; {makes} `mainspring migrate`. "
                "Another place? Name it by --url or --app"
            )
        return app


def store_file(url: str) -> Path | None:
    """The file of an SQLite store, by `app.url`."""
    return Path(unquote(url.removeprefix("sqlite:///"))) if url.startswith("sqlite:///") else None


def load_app(target: str) -> Mainspring:
    """The app that `shop.jobs:app`, `shop.jobs` (its only app) or `shop/jobs.py:app` names; modules of the current
    folder come first.

    Raises `ConfigurationError` for a target that names no app, `ImportFailed` where the user's code fails.
    """
    where, _, attribute = target.partition(":")
    if os.getcwd() not in sys.path[:1]:
        sys.path.insert(0, os.getcwd())
    name = _module_of_path(where) if where.endswith(".py") or "/" in where else where
    if not name or name.startswith(".") or name.endswith("."):
        raise ConfigurationError(f"{target!r} names no app; write module:app, such as shop.jobs:app")
    module = _import(name, target)
    return _attribute(module, attribute, target) if attribute else _only_app(module)


def _module_of_path(where: str) -> str:
    """The dotted name of a file; what it is relative to is put on the module path."""
    path = Path(os.path.abspath(where if where.endswith(".py") else f"{where}.py"))
    if not path.is_file():
        raise ConfigurationError(f"there is no file {str(path)!r}")
    inner = path.with_suffix("")
    root = Path.cwd()
    if not inner.is_relative_to(root) or not all(part.isidentifier() for part in inner.relative_to(root).parts):
        root = path.parent
        while (root / "__init__.py").exists():
            root = root.parent
        sys.path.insert(0, str(root))
    return ".".join(inner.relative_to(root).parts).removesuffix(".__init__")


def _import(name: str, target: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # Only what was asked for, or a package above it: a module that the user's code misses is a fault of that code.
        if error.name and f"{name}.".startswith(f"{error.name}."):
            raise ConfigurationError(_no_module(name, error.name, target)) from None
        raise ImportFailed(f"{name} cannot be imported: {_line_of(error)}{error}") from None
    except ImportError as error:
        raise ImportFailed(f"{name} cannot be imported: {_line_of(error)}{error}") from None
    except MainspringError as error:
        raise ImportFailed(f"{_line_of(error)}{error}") from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 - foreign code
        raise _failed(name, error) from None


def _no_module(name: str, missing: str, target: str) -> str:
    parent, _, last = name.rpartition(".")
    if (
        parent
        and missing == name
        and ":" not in target
        and parent in sys.modules
        and hasattr(sys.modules[parent], last)
    ):
        return f"there is no module {name!r}; did you mean {parent}:{last}?"
    return (
        f"there is no module {missing!r} in {os.getcwd()} nor among the installed packages; "
        "run mainspring in the folder from which your code can be imported"
    )


def _failed(name: str, error: BaseException) -> ImportFailed:
    """The user's code raised: its traceback, without the frames that only led there, is what helps."""
    shown = traceback.TracebackException.from_exception(error)
    frames = [frame for frame in shown.stack if not _leads_there(frame.filename)]
    shown.stack = traceback.StackSummary.from_list(frames)
    warn("".join(shown.format(chain=False)).rstrip())
    return ImportFailed(f"{name} cannot be imported: {type(error).__name__}, see above")


def _line_of(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    frames_of_user = [frame for frame in frames if not _leads_there(frame.filename)]
    return f"{frames_of_user[-1].filename}, line {frames_of_user[-1].lineno}: " if frames_of_user else ""


def _leads_there(filename: str) -> bool:
    ours = str(Path(__file__).resolve().parents[1])
    return filename.startswith(("<", ours, str(Path(importlib.__file__).parent)))


def _attribute(module: ModuleType, attribute: str, target: str) -> Mainspring:
    value: Any = module
    for part in attribute.split("."):
        if not hasattr(value, part):
            raise ConfigurationError(f"{module.__name__} has no {attribute!r}; {_suggestion(module, attribute)}")
        value = getattr(value, part)
    if not isinstance(value, Mainspring):
        raise ConfigurationError(
            f"{target} is of type {type(value).__name__}, not a Mainspring app; {_suggestion(module, attribute)}"
        )
    return value


def _suggestion(module: ModuleType, attribute: str) -> str:
    names = [name for name, _ in _apps(module)]
    near = difflib.get_close_matches(attribute, names, 1)
    if near:
        return f"did you mean {module.__name__}:{near[0]}?"
    if names:
        return f"its apps are: {', '.join(f'{module.__name__}:{name}' for name in names)}"
    return "there is no Mainspring app in it; make one with `app = Mainspring()`"


def _only_app(module: ModuleType) -> Mainspring:
    apps = {id(app): (name, app) for name, app in reversed(list(_apps(module)))}
    if len(apps) == 1:
        return next(iter(apps.values()))[1]
    if not apps:
        raise ConfigurationError(
            f"there is no Mainspring app in {module.__name__}; make one with `app = Mainspring()`, or name its module"
        )
    names = sorted(name for name, _ in apps.values())
    raise ConfigurationError(
        f"{module.__name__} has several apps; say which: {', '.join(f'{module.__name__}:{name}' for name in names)}"
    )


def _apps(module: ModuleType) -> Iterator[tuple[str, Mainspring]]:
    return ((name, value) for name, value in vars(module).items() if isinstance(value, Mainspring))
