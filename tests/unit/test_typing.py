"""What a strict type checker knows about tasks and jobs: wrong arguments are errors, results have their types."""

from __future__ import annotations

import re
from pathlib import Path

from mypy import api

SNIPPET = """
from __future__ import annotations

from mainspring import Context, Flow, Job, JobDraft, Mainspring, Retry, Task, chain, chord, group, previous
from mainspring.model.job import Claim

app = Mainspring("sqlite://")


@app.task
def add(a: int, b: int = 2) -> int:
    return a + b


@app.task(queue="email", retry=Retry(attempts=5), timeout="30s")
async def send(user_id: int, email: str) -> dict[str, str]:
    return {}


@app.task
async def resize(ctx: Context, path: str) -> bytes:
    return b""


@app.every("1h")
@app.task
def clean(days: float = 7) -> list[str]:
    return []


@app.cron("0 9 * * *")
async def report(to: str = "me") -> None: ...


add.enqueue(1, b=2)
add.enqueue("1")  # E: Argument 1 has incompatible type "str"; expected "int"
add.enqueue(1, c=2)  # E: Unexpected keyword argument "c"
add.enqueue()  # E: Too few arguments
add.job(None)  # E: Argument 1 to "job" of "BoundTask" has incompatible type "None"; expected "int"
add.using(delay="2h").enqueue(1, 2, 3)  # E: Too many arguments
add.using(dleay="2h")  # E: Unexpected keyword argument "dleay"
app.task(qeueu="x")  # E: Unexpected keyword argument "qeueu"
app.jobs.count(sate="dead")  # E: Unexpected keyword argument "sate"
app.on("complete")  # E: Argument 1 to "on" of "Mainspring" has incompatible type


def tamper(claim: Claim) -> None:
    claim.lease = 7  # E: Property "lease" defined in "Claim" is read-only



reveal_type(add(1))  # N: "int"
reveal_type(add.enqueue(1))  # N: "mainspring.job.Job[int]"
reveal_type(add.enqueue(1).result(timeout="5s"))  # N: "int"
reveal_type(add.using(priority=1).enqueue(1).refresh().result())  # N: "int"
reveal_type(clean.enqueue(days=1).result())  # N: "list[str]"
reveal_type(app.enqueue_many([add.job(1), add.job(2)]))  # N: "list[mainspring.job.Job[int]]"
reveal_type(app.jobs.count(state="dead"))  # N: "int"
reveal_type(app.jobs.find(queue="email")[0])  # N: "mainspring.job.Job[Any]"
for view in add.enqueue(1).watch():
    reveal_type(view)  # N: "mainspring.job.Job[int]"

flow = Flow("sums")
node = flow.add(add.job(1))
reveal_type(flow)  # N: "mainspring.flow.Flow[Any]"
reveal_type(node)  # N: "mainspring.nodes.Node[int]"
reveal_type(node.result)  # N: "int"
reveal_type(node.job.result())  # N: "int"
sent = flow.add(send.job(node.result, "a@b.c"), after=[node], on_failure={node: "run"})
reveal_type(sent.result)  # N: "dict[str, str]"
flow.add(send.job("1", "a@b.c"))  # E: Argument 1 to "job" of "BoundTask" has incompatible type "str"; expected "int"
flow.add(add.job(1), on_failure="dead")  # E: No overload variant of "add" of "Flow" matches argument types
reveal_type(flow.add(group(add.job(1), add.job(2))).result)  # N: "list[int]"
reveal_type(group([add.job(1), add.job(2)]).enqueue().result())  # N: "list[int]"
reveal_type(add.map([1, 2], chunk=2).enqueue().result())  # N: "list[int]"
reveal_type(chord([add.job(1)], clean.job(previous)).enqueue().result())  # N: "list[str]"
reveal_type(chain(add.job(1), clean.job(previous)).enqueue())  # N: "mainspring.flow.Flow[Any]"
reveal_type(flow.progress().fraction)  # N: "float"
reveal_type(app.flows.get("x").jobs())  # N: "list[mainspring.job.Job[Any]]"

mixed: list[JobDraft[object]] = [add.job(1), send.job(1, "a@b.c")]
tasks: list[Task[..., object]] = [add, send, resize]


async def main() -> None:
    reveal_type(await send(7, "a@b.c"))  # N: "dict[str, str]"
    job: Job[dict[str, str]] = await send.aenqueue(7, email="a@b.c")
    await send.aenqueue(7, email=7)  # E: Argument "email" has incompatible type "int"; expected "str"
    await send.using(queue="x").aenqueue("7", "a")  # E: Argument 1 has incompatible type "str"; expected "int"
    reveal_type(await job.aresult(timeout=30))  # N: "dict[str, str]"
    reveal_type(await (await resize.aenqueue("a.png")).aresult())  # N: "bytes"
    await resize.aenqueue(7)  # E: Argument 1 has incompatible type "int"; expected "str"
    reveal_type(await app.aenqueue_many([send.job(1, "a")]))  # N: "list[mainspring.job.Job[dict[str, str]]]"
    reveal_type(await job.acancel("no need"))  # N: "bool"
    reveal_type(await app.queues.alist())  # N: "list[mainspring.admin.queues.QueueView]"
    async for view in job.watch():
        reveal_type(view.progress)  # N: "float | None"
    await report.aenqueue(to="you")
    reveal_type(await (await group(add.job(1)).aenqueue()).aresult())  # N: "list[int]"
"""


def test_a_strict_type_checker_knows_arguments_and_results(tmp_path: Path) -> None:
    snippet = tmp_path / "snippet.py"
    snippet.write_text(SNIPPET)
    output, errors, _ = api.run(["--strict", "--no-error-summary", "--no-pretty", str(snippet)])
    assert not errors
    said: dict[int, str] = {}
    for number, text in re.findall(r"snippet\.py:(\d+): (?:error|note): (.*)", output):
        said[int(number)] = said.get(int(number), "") + text
    expected = {
        number: line.split("# E: ")[-1].split("# N: ")[-1]
        for number, line in enumerate(SNIPPET.splitlines(), 1)
        if "# E: " in line or "# N: " in line
    }
    assert said.keys() == expected.keys()
    assert {number: said[number] for number, text in expected.items() if text not in said[number]} == {}
