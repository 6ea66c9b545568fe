"""The store's contract as tests. A backend's test file is short:

    from .conformance import *

    @pytest.fixture
    def store(tmp_path): ...    # a fresh, empty, migrated store

Tests are grouped by operation, each file's classes after the promises in `mainspring/store/base.py`. Requests carry an
explicit `now`, save where the store's own clock is what is tested. A test that not every store can pass names the
capability that it needs (`scene.needs`); a backend lists what it cannot do in `LACKS`.
"""

from .alter import TestAlter, TestCancel, TestDelete, TestReprioritise, TestReschedule, TestRevive
from .audit import TestAudit
from .bad_ends import TestCascades, TestMixedPolicies, TestPolicies
from .beat import TestBeat, TestCommands
from .checkpoints import TestCheckpoints, TestCheckpointsEnd
from .claim import TestClaim, TestConcurrency, TestLostReplies, TestNextDue, TestPaused
from .coming_back import TestComingBack
from .configure import TestQueues, TestSchedules, TestWorkers
from .count import TestAhead, TestCount, TestQuickCount
from .drivers import TestAsync, TestAtomicity, TestClock, TestDrivers
from .edges import TestDuplicates, TestFollowUpEdges, TestParentsInserted, TestParentsSeen, TestWaiting
from .find import TestFilter, TestFind
from .flows import TestAddedToLater, TestCallbacks, TestCancellingFlows, TestFindingFlows, TestNested, TestPruningFlows
from .gates import TestChangedLimits, TestRates
from .graphs import TestLargeGraphs, TestRandomGraphs
from .insert import TestInsert, TestTicks
from .keys import TestConflicts, TestGivingBack, TestKeys, TestReplacing, TestSeats, TestTicksKeys, TestTogether
from .note import TestLog, TestNote
from .opening import TestClosing, TestOpening
from .output import TestBookmarks, TestOutput, TestStamps
from .partitions import TestPartitionLimits, TestPausedPartitions, TestPlaces
from .prune import TestPrune
from .reap import TestReap
from .revive import (
    TestRevivingChildren,
    TestRevivingDiamonds,
    TestRevivingMany,
    TestRevivingOneOfTwo,
    TestRevivingParents,
)
from .room import TestAllOrNone, TestKeysAndRoom, TestPartitionsRoom, TestRoom, TestSentTwice, TestTicksRoom
from .sequence import TestDeadHeads, TestKilledHeads, TestSequence
from .settle import TestFence, TestFollowUps, TestSettle
from .slots import TestSlots
from .stats import TestCancelled, TestEnqueued, TestReading, TestReports, TestRollingUp
from .task_gates import TestTaskGates
from .texts import TestTexts
from .turns import TestTurns
from .watch import TestAsyncWatch, TestWatch

__all__ = [
    "TestAddedToLater",
    "TestAhead",
    "TestAllOrNone",
    "TestAlter",
    "TestAsync",
    "TestAsyncWatch",
    "TestAtomicity",
    "TestAudit",
    "TestBeat",
    "TestBookmarks",
    "TestCallbacks",
    "TestCancel",
    "TestCancelled",
    "TestCancellingFlows",
    "TestCascades",
    "TestChangedLimits",
    "TestCheckpoints",
    "TestCheckpointsEnd",
    "TestClaim",
    "TestClock",
    "TestClosing",
    "TestComingBack",
    "TestCommands",
    "TestConcurrency",
    "TestConflicts",
    "TestCount",
    "TestDeadHeads",
    "TestDelete",
    "TestDrivers",
    "TestDuplicates",
    "TestEnqueued",
    "TestFence",
    "TestFilter",
    "TestFind",
    "TestFindingFlows",
    "TestFollowUpEdges",
    "TestFollowUps",
    "TestGivingBack",
    "TestInsert",
    "TestKeys",
    "TestKeysAndRoom",
    "TestKilledHeads",
    "TestLargeGraphs",
    "TestLog",
    "TestLostReplies",
    "TestMixedPolicies",
    "TestNested",
    "TestNextDue",
    "TestNote",
    "TestOpening",
    "TestOutput",
    "TestParentsInserted",
    "TestParentsSeen",
    "TestPartitionLimits",
    "TestPartitionsRoom",
    "TestPaused",
    "TestPausedPartitions",
    "TestPlaces",
    "TestPolicies",
    "TestPrune",
    "TestPruningFlows",
    "TestQueues",
    "TestQuickCount",
    "TestRandomGraphs",
    "TestRates",
    "TestReading",
    "TestReap",
    "TestReplacing",
    "TestReports",
    "TestReprioritise",
    "TestReschedule",
    "TestRevive",
    "TestRevivingChildren",
    "TestRevivingDiamonds",
    "TestRevivingMany",
    "TestRevivingOneOfTwo",
    "TestRevivingParents",
    "TestRollingUp",
    "TestRoom",
    "TestSchedules",
    "TestSeats",
    "TestSentTwice",
    "TestSequence",
    "TestSettle",
    "TestSlots",
    "TestStamps",
    "TestTaskGates",
    "TestTexts",
    "TestTicks",
    "TestTicksKeys",
    "TestTicksRoom",
    "TestTogether",
    "TestTurns",
    "TestWaiting",
    "TestWatch",
    "TestWorkers",
]
