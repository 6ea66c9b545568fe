"""Who does not instrument pays nothing and needs nothing; who does is told what is missing."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mainspring import ConfigurationError, Mainspring
from mainspring.observe import opentelemetry

from .seen import Seen


def test_nothing_loads_opentelemetry_that_was_not_asked_for() -> None:
    program = "import sys, mainspring, mainspring.cli, mainspring.observe.opentelemetry; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not [name for name in done.stdout.split() if name.partition(".")[0] == "opentelemetry"]


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opentelemetry, "find_spec", lambda name: None)
    app = Mainspring("sqlite://")
    with pytest.raises(ConfigurationError, match=r"pip install 'mainspring\[otel\]'"):
        opentelemetry.instrument(app)
    assert app.tracing is None


def test_an_app_is_instrumented_once() -> None:
    app = Mainspring("sqlite://")
    Seen(app)
    with pytest.raises(ConfigurationError, match="instrumented already"):
        Seen(app)
