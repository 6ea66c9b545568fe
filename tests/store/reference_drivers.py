"""The reference store's drivers: they run an operation under the store's lock, and hint at everything to everybody."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection

from mainspring.store.base import Reply, Request, Store, start


class Bell:
    """One lock for all operations, and a count of those performed, which is what listeners wait for."""

    def __init__(self) -> None:
        self.lock = threading.Condition()
        self.rings = 0

    def perform(self, store: Store, request: Request[Reply]) -> Reply:
        """Run the operation to its end, alone."""
        operation = start(store, request)
        with self.lock:
            try:
                while True:
                    next(operation)
            except StopIteration as end:
                self.rings += 1
                self.lock.notify_all()
                reply: Reply = end.value
                return reply


class ReferenceDriver:
    """A blocking `Driver`."""

    def __init__(self, store: Store, bell: Bell) -> None:
        self.store = store
        self.bell = bell

    def run(self, request: Request[Reply]) -> Reply:
        return self.bell.perform(self.store, request)

    def watch(self, topics: tuple[str, ...]) -> ReferenceWatch:
        return ReferenceWatch(self.bell)

    def close(self) -> None:
        pass


class AsyncReferenceDriver:
    """An `AsyncDriver`. Operations are short enough to run on the loop itself."""

    def __init__(self, store: Store, bell: Bell) -> None:
        self.store = store
        self.bell = bell

    async def run(self, request: Request[Reply]) -> Reply:
        return self.bell.perform(self.store, request)

    async def watch(self, topics: tuple[str, ...]) -> AsyncReferenceWatch:
        return AsyncReferenceWatch(ReferenceWatch(self.bell))

    async def aclose(self) -> None:
        pass


class ReferenceWatch:
    """A `Watch` that hears every operation: a hint may be a false alarm."""

    def __init__(self, bell: Bell) -> None:
        self.bell = bell
        self.heard = bell.rings

    def wait(self, seconds: float) -> bool:
        with self.bell.lock:
            rang = self.bell.lock.wait_for(lambda: self.bell.rings > self.heard, seconds)
            self.heard = self.bell.rings
        return rang

    def close(self) -> None:
        pass


class AsyncReferenceWatch:
    """An `AsyncWatch`: a `Watch` that waits on a thread."""

    def __init__(self, watch: ReferenceWatch) -> None:
        self.watch = watch

    async def wait(self, seconds: float) -> bool:
        return await asyncio.to_thread(self.watch.wait, seconds)

    async def add(self, topics: Collection[str]) -> None:
        pass

    async def drop(self, topics: Collection[str]) -> None:
        pass

    def heard(self) -> None:
        return None

    async def aclose(self) -> None:
        self.watch.close()
