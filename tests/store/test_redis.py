"""The conformance suite on Redis (scratch driver for now)."""

from __future__ import annotations

import sys

import pytest

sys.path.insert(0, "/tmp")
from rscratch import ScratchStore

from .conformance import *  # noqa: F403
from .state_machine import operations_like_the_reference

LACKS = frozenset({"hints"})


@pytest.fixture
def store() -> ScratchStore:
    return ScratchStore()


TestOperations = operations_like_the_reference(ScratchStore)
