"""What all tests share: how Hypothesis runs on busy machines, and signals as they are at a terminal."""

import signal

import pytest
from hypothesis import HealthCheck, settings

# Before anybody imports them: assertions in there are the suite's own.
pytest.register_assert_rewrite("store.conformance", "store.state_machine")

# How long an example takes says something about the machine and nothing about the code.
settings.register_profile("mainspring", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("mainspring")

# Whoever starts the tests in the background starts them with SIGINT ignored, and so would be every program that they
# start: none of those could be stopped by Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
