"""What all tests share: how Hypothesis runs on machines that are busy with other things."""

from hypothesis import HealthCheck, settings

# How long an example takes says something about the machine and nothing about the code.
settings.register_profile("mainspring", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("mainspring")
