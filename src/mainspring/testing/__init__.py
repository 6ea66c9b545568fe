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

from mainspring.testing.drain import Drained, EndlessDrain, adrain, drain
from mainspring.testing.frozen import Clock, freeze
from mainspring.testing.inline import inline
from mainspring.testing.isolation import isolated

__all__ = ["Clock", "Drained", "EndlessDrain", "adrain", "drain", "freeze", "inline", "isolated"]
