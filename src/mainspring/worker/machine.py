"""What a worker takes from the machine that it runs on: a clock, ids, and a thread for its pulse.

The worker is handed these, and asks nobody else: so a simulation can hand it others, and run it for hours in seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from mainspring.clock import new_id
from mainspring.store.base import Store
from mainspring.worker.pulse import Beating, Pulse, PulseThread

__all__ = ["Machine"]


@dataclass(frozen=True, slots=True)
class Machine:
    """This machine, unless it is said otherwise."""

    monotonic: Callable[[], float] = time.monotonic
    """Seconds that never go back."""
    new_id: Callable[[], str] = new_id
    """Makes ids of workers, each anew."""
    beating: Callable[[Pulse, Store], Beating] = PulseThread
    """Makes what keeps the pulse going, beside whatever the event loop does."""
