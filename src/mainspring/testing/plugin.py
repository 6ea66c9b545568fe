"""The pytest plugin: two fixtures, and an option that says which app is yours.

    [tool.pytest.ini_options]
    mainspring_app = "shop.jobs:app"

pytest loads this file whenever it starts, in every project that has Mainspring installed, so it imports nothing more
until a test asks for a fixture.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from mainspring import Mainspring
    from mainspring.testing import Clock

__all__ = ["mainspring_app", "mainspring_time", "pytest_addoption"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("mainspring_app", 'the app that the fixture mainspring_app isolates, such as "shop.jobs:app"')


@pytest.fixture
def mainspring_time() -> Iterator[Clock]:
    """Mainspring's time, standing still: `mainspring_time.travel("1h")` moves it."""
    from mainspring.testing import freeze

    with freeze() as clock:
        yield clock


@pytest.fixture
def mainspring_app(request: pytest.FixtureRequest) -> Iterator[Mainspring]:
    """Your app (the option `mainspring_app`), on an empty store in memory for this test."""
    from mainspring.testing import isolated

    if "mainspring_time" in request.fixturenames:
        # First, so that the schedules count from the time that stands still.
        request.getfixturevalue("mainspring_time")
    with isolated(_load(request.config.getini("mainspring_app"))) as app:
        yield app


def _load(path: str) -> Mainspring:
    """The app at `module:attribute`."""
    from mainspring import Mainspring

    module, _, attribute = path.partition(":")
    if not (module and attribute):
        raise pytest.UsageError(
            "the fixture mainspring_app needs to know your app; write in pyproject.toml, under "
            '[tool.pytest.ini_options]: mainspring_app = "shop.jobs:app"'
        )
    app = importlib.import_module(module)
    for name in attribute.split("."):
        app = getattr(app, name)
    if not isinstance(app, Mainspring):
        raise pytest.UsageError(f"mainspring_app = {path!r} is of type {type(app).__name__}, and no Mainspring app")
    return app
