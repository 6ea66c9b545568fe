"""An empty store in memory for an app, for as long as one test."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mainspring.clock import now_ms
from mainspring.store.base import ConfigureRequest, Settings
from mainspring.store.sqlite import SqliteStore
from mainspring.store.sqlite.drivers import SqliteAsyncDriver, SqliteDriver
from mainspring.twin import Async, Blocking

if TYPE_CHECKING:
    from mainspring import Mainspring

__all__ = ["isolated"]


@contextmanager
def isolated(app: Mainspring) -> Generator[Mainspring]:
    """Point an app at an empty store in memory, and back at its own afterwards; gives the app.

        with isolated(app):
            send_welcome.enqueue(7, "a@b.c")
            assert app.jobs.count(state="queued") == 1

    The app stays the same object, so whoever has imported it, or one of its tasks, is isolated with it. Its queues and
    schedules are in the store from the start, as if a worker had been there. Good in async tests, too.
    """
    before = app.store, app._blocking, app._async
    store = _Passing()
    app.store, app._blocking, app._async = store, Blocking(store), Async(store)
    try:
        app._blocking.driver.run(ConfigureRequest(app.declared(Settings(now_ms()))))
        yield app
    finally:
        app.store, app._blocking, app._async = before
        store.close()


class _Passing(SqliteStore):
    """A store that can be thrown away, with every connection to it, whatever loop it belongs to."""

    def __init__(self) -> None:
        super().__init__("sqlite://")
        self._drivers: list[SqliteDriver | SqliteAsyncDriver] = []

    def driver(self, patience: float | None = None) -> SqliteDriver:
        driver = super().driver(patience)
        self._drivers.append(driver)
        return driver

    def async_driver(self) -> SqliteAsyncDriver:
        driver = super().async_driver()
        self._drivers.append(driver)
        return driver

    def close(self) -> None:
        for driver in self._drivers:
            driver.close()
        if self._anchor is not None:
            self._anchor.close()
