"""The documentation is true: its programs run, its command lines parse, its numbers are those of the code."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from mainspring.cli.root import cli
from mainspring.model.backoff import Retry
from mainspring.model.codec import MAX_BYTES, MAX_DEPTH, WARN_BYTES
from mainspring.model.durations import format_ms
from mainspring.model.options import BEAT_MS, DEFAULT_PRIORITY, GRACE_MS, KEEP_MS, LEASE_MS, MAX_CRASHES, REAP_MS
from mainspring.model.states import State
from mainspring.store.base import LOG_LINES_KEPT
from mainspring.web.application import MAX_BODY
from mainspring.web.auth.throttle import FORGET_SECONDS
from mainspring.web.guard import MAX_HEADER_BYTES, MAX_TARGET_BYTES
from mainspring.web.secret import SHORTEST
from mainspring.web.serve import GRACE_SECONDS
from mainspring.web.sessions import LASTS_SECONDS
from mainspring.worker.worker import DEFAULT_CONCURRENCY

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, *languages: str) -> Iterator[tuple[int, str]]:
    """The page's blocks in these languages, each with the number of the line that it begins on."""
    text = page.read_text(encoding="utf-8")
    for match in BLOCK.finditer(text):
        if match[1] in languages:
            yield text.count("\n", 0, match.start(2)), match[2]


def program(page: Path) -> str:
    """The page's Python blocks as one program, with every line where it stands on the page."""
    lines: list[str] = []
    for first, block in blocks(page, "python"):
        lines += [""] * (first - len(lines)) + block.splitlines()
    return "\n".join(lines) + "\n"


def command_lines() -> Iterator[Any]:
    for page in PAGES:
        for _, block in blocks(page, "console", "bash", "sh"):
            for line in block.splitlines():
                words = shlex.split(line.removeprefix("$ "), comments=True)
                if words[:1] == ["mainspring"]:
                    yield pytest.param(words[1:], id=f"{page.name}: {shlex.join(words)}")
        for _, block in blocks(page, "ini", "dockerfile", "yaml"):
            for started, listed in re.findall(r"ExecStart=\S*/mainspring (.*)|\[(\"mainspring\".*)\]", block):
                words = shlex.split(started) if started else json.loads(f"[{listed}]")[1:]
                yield pytest.param(words, id=f"{page.name}: {shlex.join(words)}")


@pytest.mark.parametrize("page", [page for page in PAGES if program(page).strip()], ids=lambda page: page.name)
def test_the_programs_run(page: Path, tmp_path: Path) -> None:
    file = tmp_path / f"{page.stem.lower()}.py"
    file.write_text(program(page), encoding="utf-8")
    command = [sys.executable, "-W", "error", file.name]
    if "\ndef test_" in program(page):
        options = {
            "pythonpath": ".",
            "mainspring_app": f"{file.stem}:app",
            "asyncio_mode": "auto",
            "asyncio_default_fixture_loop_scope": "function",
            "filterwarnings": "error",
        }
        (tmp_path / "pytest.ini").write_text(
            "[pytest]\n" + "".join(f"{name} = {value}\n" for name, value in options.items())
        )
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", file.name]
    environment = os.environ | {"MAINSPRING_URL": f"sqlite:///{tmp_path}/page.db"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, f"{page} (the line numbers are the page's):\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("words", list(command_lines()))
def test_the_command_lines_parse(words: list[str]) -> None:
    command: Any = typer.main.get_command(cli)
    name, context = "mainspring", None
    while True:
        context = command.make_context(name, words, parent=context)
        if not hasattr(command, "resolve_command"):
            return
        name, command, words = command.resolve_command(context, [*context._protected_args, *context.args])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", text):
        other = page.parent / target if target else page
        assert other.exists(), f"{page.name} links to {target}, which is not there"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", other.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings]


def test_the_defaults_are_those_of_the_code() -> None:
    text = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    table = dict(re.findall(r"^\| (.*?) \| (.*?) \|", text.partition("## Defaults")[2], re.MULTILINE))
    retry = Retry()
    assert table["attempts"] == f"{retry.attempts}"
    assert retry.factor == 2
    assert retry.jitter
    assert table["delay before the next attempt"] == (
        f"{retry.delay}, doubled each time, at most {retry.max_delay}, full jitter"
    )
    assert table["lost workers until a job is poison"] == f"{MAX_CRASHES}"
    assert table["priority"] == f"{DEFAULT_PRIORITY}"
    assert table["jobs at once in a worker"] == f"{DEFAULT_CONCURRENCY}"
    assert table["worker's lease"] == format_ms(LEASE_MS)
    assert table["heartbeat"] == format_ms(BEAT_MS)
    assert table["dead workers are looked for every"] == format_ms(REAP_MS)
    assert table["grace period"] == format_ms(GRACE_MS)
    for state in (State.COMPLETED, State.DEAD, State.CANCELLED):
        days = KEEP_MS[state] // 86_400_000
        assert table[f"{state} jobs are kept for"] == f"{days}d"
    assert table["log lines kept per job"] == f"the newest {LOG_LINES_KEPT:,}"
    assert table["arguments, results"] == (
        f"warned of over {WARN_BYTES >> 10} KiB, refused over {MAX_BYTES >> 20} MiB or deeper than {MAX_DEPTH}"
    )


def test_the_bounds_of_the_web_are_those_of_the_code() -> None:
    text = (ROOT / "docs" / "web.md").read_text(encoding="utf-8")
    assert f"{MAX_HEADER_BYTES >> 10} KiB of headers, {MAX_TARGET_BYTES >> 10} KiB of address" in text
    assert f"{MAX_BODY >> 20} MiB of body" in text
    assert f"A session ends after {LASTS_SECONDS // 3600} hours" in text
    assert f"at least {SHORTEST} characters" in text
    assert f"within some {['no', 'one', 'two'][GRACE_SECONDS]} seconds" in text
    assert FORGET_SECONDS == 15 * 60
    assert "forgotten after a quarter of an hour" in text
