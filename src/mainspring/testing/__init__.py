"""For the tests of your own tasks.

    from mainspring.testing import drain, isolated

    def test_a_signup_sends_a_welcome_mail():
        with isolated(app):                              # your app, on an empty store in memory
            sign_up("a@b.c")                             # enqueues send_welcome
            report = drain(app, raise_errors=True)       # runs whatever is due, here and now
            assert report.completed == 1

drain · adrain   run whatever is due now, in this process, until nothing is left
inline           each job runs as soon as it is enqueued, before `enqueue` returns
isolated         an empty store in memory for the app, for a while
freeze           time stands still, and moves when the test says so

With pytest come the fixtures `mainspring_app` (yours, isolated) and `mainspring_time` (frozen).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mainspring.testing.draining import Drained, EndlessDrain, adrain, drain
    from mainspring.testing.frozen import Clock, freeze
    from mainspring.testing.inlining import inline
    from mainspring.testing.isolation import isolated

__all__ = ["Clock", "Drained", "EndlessDrain", "adrain", "drain", "freeze", "inline", "isolated"]

_HOMES = {
    **dict.fromkeys(("Drained", "EndlessDrain", "adrain", "drain"), "draining"),
    **dict.fromkeys(("Clock", "freeze"), "frozen"),
    "inline": "inlining",
    "isolated": "isolation",
}


def __getattr__(name: str) -> Any:
    # On demand: pytest loads this package, with the plugin in it, also where no test uses Mainspring.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return value
