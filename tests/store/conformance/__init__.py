"""The store's contract as tests. A backend's test file is short:

    from .conformance import *

    @pytest.fixture
    def store(tmp_path): ...    # a fresh, empty, migrated store

Tests are grouped by operation, each file's classes after the promises in `mainspring/store/base.py`. Requests carry an
explicit `now`, save where the store's own clock is what is tested. A test that not every store can pass names the
capability that it needs (`scene.needs`); a backend lists what it cannot do in `LACKS`.
"""

from .alter import TestAlter, TestCancel, TestDelete, TestReprioritise, TestReschedule, TestRevive
from .beat import TestBeat, TestCommands
from .claim import TestClaim, TestConcurrency, TestNextDue, TestPaused
from .configure import TestQueues, TestSchedules, TestWorkers
from .count import TestCount
from .drivers import TestAsync, TestAtomicity, TestClock, TestDrivers
from .find import TestFilter, TestFind
from .insert import TestInsert, TestTicks
from .keys import TestConflicts, TestGivingBack, TestKeys, TestReplacing, TestSeats, TestTicksKeys, TestTogether
from .note import TestLog, TestNote
from .prune import TestPrune
from .reap import TestReap
from .settle import TestFence, TestFollowUps, TestSettle
from .texts import TestTexts
from .watch import TestAsyncWatch, TestWatch

__all__ = [
    "TestAlter",
    "TestAsync",
    "TestAsyncWatch",
    "TestAtomicity",
    "TestBeat",
    "TestCancel",
    "TestClaim",
    "TestClock",
    "TestCommands",
    "TestConcurrency",
    "TestConflicts",
    "TestCount",
    "TestDelete",
    "TestDrivers",
    "TestFence",
    "TestFilter",
    "TestFind",
    "TestFollowUps",
    "TestGivingBack",
    "TestInsert",
    "TestKeys",
    "TestLog",
    "TestNextDue",
    "TestNote",
    "TestPaused",
    "TestPrune",
    "TestQueues",
    "TestReap",
    "TestReplacing",
    "TestReprioritise",
    "TestReschedule",
    "TestRevive",
    "TestSchedules",
    "TestSeats",
    "TestSettle",
    "TestTexts",
    "TestTicks",
    "TestTicksKeys",
    "TestTogether",
    "TestWatch",
    "TestWorkers",
]
