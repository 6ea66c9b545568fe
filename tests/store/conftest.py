"""Fixtures of the store's tests. A backend's file gives `store`; everything else follows from it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mainspring.store.base import Driver, Store

pytest.register_assert_rewrite(f"{__package__}.conformance", f"{__package__}.state_machine")

from .conformance.scene import Scene  # noqa: E402


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(capability): skipped where the backend's file names it in LACKS")


@pytest.fixture(autouse=True)
def _capabilities(request: pytest.FixtureRequest) -> None:
    lacking: frozenset[str] = getattr(request.module, "LACKS", frozenset())
    for marker in request.node.iter_markers("needs"):
        if missing := lacking.intersection(marker.args):
            pytest.skip(f"this store has no {', '.join(sorted(missing))}")


@pytest.fixture
def driver(store: Store) -> Iterator[Driver]:
    driver = store.driver()
    yield driver
    driver.close()


@pytest.fixture
def scene(store: Store, driver: Driver) -> Scene:
    return Scene(store, driver)
