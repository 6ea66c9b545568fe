"""Traces go from process to process: enqueued in one, run by a worker, which has a third one do it."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from worker.scene import wait_until

JOBS = """
import json, os
from pathlib import Path
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
from mainspring import Context, Mainspring
from mainspring.observe import opentelemetry

def line(span):
    own, parent = span.get_span_context(), span.parent
    ids = [own.trace_id, own.span_id, parent.span_id if parent else None]
    return json.dumps([span.name, os.getpid(), *ids]) + "\\n"

HERE = Path(__file__).parent
SPANS = open(HERE / "spans.txt", "a")
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(out=SPANS, formatter=line)))
tracer = provider.get_tracer("the user's")

app = Mainspring(f"sqlite:///{HERE}/jobs.db")
opentelemetry.instrument(app, tracer_provider=provider)

@app.task
async def left_behind() -> None: ...

@app.task(executor="process")
async def apart(ctx: Context) -> None:
    with tracer.start_as_current_span("inside"):
        await left_behind.aenqueue()
    ctx.spawn(left_behind.job())

@app.task
async def beside() -> None:
    with tracer.start_as_current_span("within"):
        pass
"""


def test_one_trace_goes_through_three_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "traced_jobs.py").write_text(JOBS)
    monkeypatch.syspath_prepend(tmp_path)
    jobs = importlib.import_module("traced_jobs")

    def spans() -> list[Any]:
        whole = (tmp_path / "spans.txt").read_text().rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines()]

    with jobs.tracer.start_as_current_span("request"):
        jobs.beside.enqueue()
        jobs.apart.enqueue()
    jobs.app.close()
    command = [sys.executable, "-m", "mainspring", "worker", "traced_jobs:app"]
    worker = subprocess.Popen(command, cwd=tmp_path, env=os.environ, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: [name for name, *_ in spans()].count("run left_behind") == 2, 60)
    finally:
        worker.terminate()
        worker.wait(60)
        jobs.SPANS.close()
        jobs.provider.shutdown()
        del sys.modules["traced_jobs"]
    found = spans()
    assert len({trace for _, _, trace, *_ in found}) == 1
    ids = {name: id for name, _, _, id, _ in found}
    parents = {(name, parent) for name, _, _, _, parent in found}
    assert parents >= {
        ("request", None),
        ("enqueue beside", ids["request"]),
        ("run beside", ids["enqueue beside"]),
        ("within", ids["run beside"]),
        ("run apart", ids["enqueue apart"]),
        ("inside", ids["run apart"]),
        ("enqueue left_behind", ids["inside"]),
        ("enqueue left_behind", ids["run apart"]),
    }
    pids = {name: pid for name, pid, *_ in found}
    assert pids["run beside"] == pids["run apart"] == worker.pid
    assert len({pids["request"], pids["run apart"], pids["inside"]}) == 3
