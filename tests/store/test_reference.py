"""The conformance suite on the reference itself: the oracle keeps the contract that it is the measure of."""

from __future__ import annotations

import pytest

from .conformance import *  # noqa: F403
from .reference import ReferenceStore
from .state_machine import PROFILES, operations_like_the_reference

LACKS = frozenset({"processes", "scale"})


@pytest.fixture
def store() -> ReferenceStore:
    return ReferenceStore()


TestOperations = operations_like_the_reference(ReferenceStore)
# Beside itself: this says that the comparing works, which takes no thousands of examples.
TestOperations.settings = PROFILES["dev"]  # type: ignore[attr-defined]
