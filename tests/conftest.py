"""What all tests share: how Hypothesis runs on busy machines, and signals as they are at a terminal."""

import signal

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers

# Before anybody imports them: assertions in there are the suite's own.
pytest.register_assert_rewrite("store.conformance", "store.state_machine")

# How long an example takes says something about the machine and nothing about the code.
settings.register_profile("mainspring", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("mainspring")
if settings.default.derandomize:  # as Hypothesis does by itself where CI is set
    # The same examples each time, that is. But some of the numbers in them it takes from the source of all modules that
    # are loaded by then, and so from the tests that this process happens to have run before.
    assert callable(providers._get_local_constants)
    providers._get_local_constants = lambda: providers._local_constants

# Whoever starts the tests in the background starts them with SIGINT ignored, and so would be every program that they
# start: none of those could be stopped by Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
