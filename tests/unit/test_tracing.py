"""A trace is added to what jobs are stored with, and takes nothing away."""

from __future__ import annotations

from mainspring.model.job import NewJob
from mainspring.model.options import JobOptions
from mainspring.model.tracing import traced

TRACE = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}


def test_it_goes_with_the_options_that_a_job_has() -> None:
    tagged = JobOptions(tags=("vip",), timeout_ms=5000)
    jobs = [NewJob("1", "a"), NewJob("2", "b", options=tagged.to_text()), NewJob("3", "a")]
    one, other, third = traced(jobs, TRACE)
    assert (one.id, other.id, third.task) == ("1", "2", "a")
    assert one.options == third.options == JobOptions(trace=tuple(TRACE.items())).to_text()
    stored = JobOptions.from_text(other.options)
    assert (stored.tags, stored.timeout_ms, dict(stored.trace)) == (tagged.tags, 5000, TRACE)
    assert [job.options for job in jobs] == [None, tagged.to_text(), None]


def test_a_new_one_takes_the_place_of_an_old_one() -> None:
    (job,) = traced(traced([NewJob("1", "a")], {"traceparent": "old", "tracestate": "old"}), TRACE)
    assert dict(JobOptions.from_text(job.options).trace) == TRACE


def test_no_trace_changes_nothing() -> None:
    jobs = [NewJob("1", "a")]
    assert traced(jobs, {}) is jobs
