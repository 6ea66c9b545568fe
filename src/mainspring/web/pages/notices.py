"""What a page says about what was just done. It comes with the address, so it is a word from here and a number, never
a text that somebody else could have put there."""

from __future__ import annotations

from collections.abc import Mapping

from mainspring.web.pages.words import counted, number

__all__ = ["notice"]

_OF_JOBS = {
    "retried": "queued again",
    "cancelled": "cancelled, or asked to stop",
    "deleted": "deleted for good",
    "rescheduled": "given another time",
    "reprioritised": "given another priority",
}
_OF_ONE = {
    "enqueued": "The job is enqueued.",
    "paused": "Paused. Nothing is taken from it until it is resumed.",
    "resumed": "Resumed.",
    "limits": "The limits hold from now on.",
    "schedule-paused": "The schedule is paused; it makes no jobs until it is resumed.",
    "schedule-resumed": "The schedule goes on with its next time.",
    "schedule-saved": "The schedule is saved.",
    "schedule-removed": "The schedule is forgotten; the jobs that it made stay.",
    "run-now": "Enqueued now, besides the regular times. This is the job.",
    "quiet": "The worker takes no more jobs from its next heartbeat on.",
    "stop": "The worker stops gracefully from its next heartbeat on.",
    "gone": "That worker is not there any more.",
    "edited": "Enqueued anew with the edited arguments. This is the new job.",
}


def notice(query: Mapping[str, str]) -> str | None:
    """The sentence for `?done=…&n=…`; None for anything that is not of ours."""
    done, count = query.get("done", ""), query.get("n", "")
    if done in _OF_ONE:
        return _OF_ONE[done]
    if done in _OF_JOBS and count.isdecimal() and len(count) < 12:
        jobs = int(count)
        if jobs == 0:
            return "No job was changed: none fits any more."
        return f"{counted(jobs, 'job')} {_OF_JOBS[done]}." if jobs != 1 else f"{number(1)} job {_OF_JOBS[done]}."
    return None
