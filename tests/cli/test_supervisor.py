"""`mainspring worker -p N`: processes that die, stop, roll and are replaced, as real processes."""

from __future__ import annotations

import ctypes
import os
import pty
import re
import signal
import socket
from pathlib import Path
from typing import Any

import psutil
import pytest

from mainspring import Job, State
from mainspring.cli.target import load_app
from mainspring.worker.post import FIRST_PAUSE

from .conftest import PATIENCE, Project, until
from .fleet import Fleet, Probe


def enqueue(task: str, *args: Any) -> Job[Any]:
    return load_app("fleet:app").tasks[task].enqueue(*args)


def final(*jobs: Job[Any]) -> bool:
    return all(job.refresh().state is State.COMPLETED for job in jobs)


def test_each_process_is_a_worker_of_its_own_and_all_stop_gracefully(project: Project) -> None:
    fleet = Fleet(project, "-p", "2", "-c", "2")
    pids = fleet.ready(2)
    named = {worker["name"] for worker in project.json("workers", "list", "--app", "fleet:app")}
    assert named == {f"{socket.gethostname()}:{pid}" for pid in pids}
    jobs = [enqueue("held", name) for name in "abcd"]
    until(lambda: len(fleet.notes()) == 4)
    fleet.tell(signal.SIGTERM)
    fleet.said("SIGTERM: the workers stop")
    for name in "abcd":
        fleet.go(name)
    assert fleet.ended() == 0, fleet.log
    assert final(*jobs)
    assert {job.result() for job in jobs} == set(pids)
    assert all(job.attempt == 1 for job in jobs)
    assert project.json("workers", "list", "--app", "fleet:app") == []


def test_a_name_is_made_one_for_each_process(project: Project) -> None:
    fleet = Fleet(project, "-p", "2", "--name", "mailer")
    pids = fleet.ready(2)
    assert {worker["name"] for worker in fleet.ask()[1]["workers"]} == {f"mailer:{pid}" for pid in pids}


def test_a_killed_worker_is_replaced_and_its_jobs_run_elsewhere(project: Project) -> None:
    fleet = Fleet(project, "-p", "2", "--lease", "5s")
    before = fleet.ready(2)
    job = enqueue("held", "a")
    (path,) = until(lambda: list(project.folder.glob("notes-*.txt")))
    doomed = int(path.stem.partition("-")[2])
    os.kill(doomed, signal.SIGKILL)
    fleet.said(f"{doomed} was killed by SIGKILL")
    fleet.go("a")
    after = until(lambda: len(ready := set(fleet.ready(2))) == 2 and doomed not in ready and ready)
    assert len(after & set(before)) == 1
    assert job.result(PATIENCE) != doomed
    job.refresh()
    assert (job.attempt, job.crashes) == (1, 1)
    assert fleet.stop() == 0, fleet.log


def test_workers_that_die_at_once_are_started_ever_more_seldom_and_loudly(project: Project) -> None:
    project.write("fleet.py", "raise RuntimeError('half deployed')")
    fleet = Fleet(project, "-p", "2")
    fleet.said("ERROR .* 4 in a row that did not live long", times=2)
    assert "half deployed" in fleet.log

    def vacant() -> bool:
        status, document = fleet.ask("/healthz")  # well while both of them are just being started
        return status == 503 and "ended with exit code 1" in document["reason"]

    until(vacant)
    assert fleet.ask("/readyz")[0] == 503
    pauses = re.findall(r"(?:(\d+) in a row .*)?; the next one starts in ([\d.]+) (ms|s)$", fleet.log, re.MULTILINE)
    assert len(pauses) >= 8
    for deaths, amount, unit in pauses:
        # The longest one doubles with each death, and is drawn from its upper half; two deaths are not counted aloud.
        shortest, longest = (int(deaths) - 1, int(deaths) - 1) if deaths else (0, 1)
        seconds = float(amount) / (1000 if unit == "ms" else 1)
        assert FIRST_PAUSE * 2**shortest / 2 - 0.05 <= seconds <= FIRST_PAUSE * 2**longest + 0.05
    fleet.write(2)
    fleet.ready(2)
    assert fleet.ask("/healthz")[0] == 200
    assert fleet.stop() == 0, fleet.log


def test_what_was_asked_wrongly_ends_it_at_once(project: Project) -> None:
    fleet = Fleet(project, "-p", "2", "--lease", "10ms")
    assert fleet.ended() == 2
    assert "lease='10ms' is under a second" in fleet.log


def test_a_second_signal_hands_everything_back_at_once(project: Project) -> None:
    fleet = Fleet(project, "-p", "2", "-c", "1", "--grace", "10m")
    fleet.ready(2)
    jobs = [enqueue("held", name) for name in "ab"]
    until(lambda: len(fleet.notes()) == 2)
    fleet.tell(signal.SIGINT)
    until(lambda: fleet.ask()[0] == 503)
    assert fleet.stop(signal.SIGTERM) == 0, fleet.log
    for job in jobs:
        job.refresh()
        assert (job.state, job.attempt, job.crashes) == (State.QUEUED, 0, 0)


def test_a_worker_that_does_not_end_well_makes_the_exit_code_1(project: Project) -> None:
    fleet = Fleet(project, "-p", "2", "--grace", "10m")
    fleet.ready(2)
    job = enqueue("held", "a")
    (path,) = until(lambda: list(project.folder.glob("notes-*.txt")))
    fleet.tell(signal.SIGTERM)
    until(lambda: len(fleet.children()) == 1)
    os.kill(int(path.stem.partition("-")[2]), signal.SIGKILL)
    assert fleet.ended() == 1
    assert "did not end well: it was killed by SIGKILL" in fleet.log
    assert job.refresh().state is State.RUNNING  # until somebody reaps it


def test_a_signal_to_the_whole_group_is_one_signal(project: Project) -> None:
    """As service managers and terminals send it: to the supervisor, and to each of its workers."""
    fleet = Fleet(project, "-p", "2", "-c", "1", "--grace", "10m")
    pids = fleet.ready(2)
    jobs = [enqueue("held", name) for name in "ab"]
    until(lambda: len(fleet.notes()) == 2)
    for pid in [fleet.process.pid, *pids]:
        os.kill(pid, signal.SIGTERM)
    fleet.said("SIGTERM: stopping", times=2)
    fleet.said("SIGTERM: the workers stop")
    assert len(fleet.children()) == 2
    for name in "ab":
        fleet.go(name)
    assert fleet.ended() == 0, fleet.log
    assert final(*jobs)
    assert "again" not in fleet.log


def test_a_worker_that_hangs_in_an_import_keeps_nobody_from_stopping(project: Project) -> None:
    project.write("fleet.py", "import time\nopen('importing', 'w')\ntime.sleep(600)")
    fleet = Fleet(project, "-p", "2", "--grace", "10m")
    until((project.folder / "importing").exists)
    assert fleet.stop() == 0, fleet.log


def test_workers_stop_gracefully_when_their_supervisor_is_killed(project: Project) -> None:
    fleet = Fleet(project, "-p", "2", "-c", "1", "--grace", "10m")
    fleet.ready(2)
    children = fleet.children()
    jobs = [enqueue("held", name) for name in "ab"]
    until(lambda: len(fleet.notes()) == 2)
    fleet.tell(signal.SIGKILL)
    fleet.said("the supervisor of this worker is gone", times=2)
    for name in "ab":
        fleet.go(name)
    assert len(psutil.wait_procs(children, PATIENCE)[0]) == 2
    assert final(*jobs)
    assert project.json("workers", "list", "--app", "fleet:app") == []


@pytest.mark.parametrize("processes", [1, 2])
def test_sighup_rolls_in_new_code_without_a_gap(project: Project, processes: int) -> None:
    # The bound is for the supervisor, which one process alone has not.
    fleet = Fleet(project, "-p", str(processes), "--max-age", "1d", "-c", "2", "--grace", "500ms")
    old = fleet.ready(processes)
    held = enqueue("held", "a")  # longer than the grace: handed back by the worker that leaves
    until(fleet.notes)
    jobs = [enqueue("version")]
    with Probe(fleet) as probe:
        fleet.write(22)
        fleet.tell(signal.SIGHUP)

        def rolled() -> bool:
            jobs.append(enqueue("version"))
            return "rolled: all workers are new" in fleet.log

        until(rolled)
    fleet.go("a")
    assert probe.asked > 5
    assert probe.refused == []
    new = fleet.ready(processes)
    assert not set(old) & set(new)
    assert held.result(PATIENCE) in new
    results = [job.result(PATIENCE) for job in jobs]
    assert {version for version, pid in results if pid in new} <= {22}
    assert {version for version, pid in results if pid in old} <= {1}
    assert enqueue("version").result(PATIENCE)[0] == 22
    for job in [held, *jobs]:
        job.refresh()
        assert (job.state, job.attempt, job.crashes) == (State.COMPLETED, 1, 0)
    assert fleet.stop() == 0, fleet.log


def test_a_terminal_that_is_closed_takes_its_workers_along(project: Project) -> None:
    ours, theirs = pty.openpty()
    Fleet(project).ready()  # another one, on the same store
    process = project.start("worker", "fleet:app", "-p", "2", stdout=theirs, stderr=theirs)
    os.close(theirs)
    until(lambda: len(project.json("workers", "list", "--app", "fleet:app")) == 3)
    os.close(ours)
    process.send_signal(signal.SIGHUP)
    assert process.wait(PATIENCE) == 0
    assert len(project.json("workers", "list", "--app", "fleet:app")) == 1


def test_a_roll_is_given_up_when_the_new_code_does_not_come_up(project: Project) -> None:
    fleet = Fleet(project, "-p", "2")
    old = fleet.ready(2)
    fleet.write(22, "raise RuntimeError('half deployed')\n")
    with Probe(fleet) as probe:
        fleet.tell(signal.SIGHUP)
        fleet.said("THE ROLL IS GIVEN UP. 2 of 2 workers go on with the old code")
    assert probe.refused == []
    assert fleet.ready(2) == old
    assert enqueue_elsewhere(project) == 1
    fleet.write(333)
    fleet.tell(signal.SIGHUP)
    fleet.said("rolled: all workers are new")
    assert enqueue_elsewhere(project) == 333
    assert fleet.stop() == 0, fleet.log


def enqueue_elsewhere(project: Project) -> int:
    """Which version of the code runs a job. Enqueued by other code on the same store, as this one may not import."""
    project.write(
        "other.py",
        "from mainspring import Mainspring\napp = Mainspring('sqlite:///fleet.db')\n"
        "@app.task\ndef version() -> list[int]: ...",
    )
    return int(load_app("other:app").tasks["version"].enqueue().result(PATIENCE)[0])


def test_sighup_during_a_roll_is_one_more_roll(project: Project) -> None:
    fleet = Fleet(project, "-p", "2")
    fleet.ready(2)
    fleet.write(1, "open(HERE / 'importing', 'w')\nwhile not (HERE / 'go-import').exists(): time.sleep(0.01)\n")
    fleet.tell(signal.SIGHUP)
    fleet.said("SIGHUP: rolling")
    until((project.folder / "importing").exists)  # so long the roll lasts
    fleet.write(22)
    for _ in range(3):
        fleet.tell(signal.SIGHUP)
    fleet.said("one more roll after this one")
    fleet.go("import")
    fleet.said("rolled: all workers are new", times=2)
    assert enqueue("version").result(PATIENCE)[0] == 22
    assert len(fleet.children()) == 2
    assert fleet.stop() == 0, fleet.log


@pytest.mark.parametrize(
    ("bound", "task", "argument", "reason"),
    [
        ("--max-jobs=4", "version", (), "jobs"),
        ("--max-memory=300MB", "leak", (120,), "of memory"),
        ("--max-age=3s", "version", (), "s old"),
    ],
)
def test_a_worn_worker_is_replaced_without_a_gap(
    project: Project, bound: str, task: str, argument: tuple[int, ...], reason: str
) -> None:
    fleet = Fleet(project, "-c", "1", bound)
    first = fleet.ready()[0]
    jobs = []
    with Probe(fleet) as probe:

        def replaced() -> bool:
            if not any(job.refresh().state is not State.COMPLETED for job in jobs):
                jobs.append(enqueue(task, *argument))
            return first not in {child.pid for child in fleet.children()}

        until(replaced)
        assert enqueue(task, *argument).result(PATIENCE)
    assert probe.refused == []
    assert re.search(rf"{first} is replaced: it (has|is) .*{reason}", fleet.log), fleet.log
    until(lambda: final(*jobs))
    assert all((job.attempt, job.crashes) == (1, 0) for job in jobs)
    assert fleet.stop() == 0, fleet.log


def test_a_bound_that_fresh_workers_reach_at_once_is_warned_of_and_does_not_wear_them_out(project: Project) -> None:
    fleet = Fleet(project, "--max-memory", "1MB")
    fleet.ready()
    with Probe(fleet) as probe:
        fleet.said("WARNING .* is it too low")
    assert probe.refused == []
    assert enqueue("version").result(PATIENCE)
    assert fleet.stop() == 0, fleet.log


def test_orphans_that_are_left_to_the_supervisor_do_not_stay_as_zombies(project: Project) -> None:
    """As the first process of a container it is the parent of whoever has lost his own."""
    adopt_orphans = 36  # PR_SET_CHILD_SUBREAPER
    libc = ctypes.CDLL(None)
    fleet = Fleet(project, "-p", "2", preexec_fn=lambda: libc.prctl(adopt_orphans, 1))
    pids = fleet.ready(2)
    orphan = enqueue("orphan").result(PATIENCE)
    until(lambda: not psutil.pid_exists(orphan))
    assert {child.pid for child in fleet.children()} == set(pids)
    assert fleet.stop() == 0, fleet.log


def test_workers_that_an_operator_stops_get_no_successors(project: Project) -> None:
    fleet = Fleet(project, "-p", "2")
    first, second = fleet.ready(2)
    host = socket.gethostname()
    project.run("workers", "stop", f"{host}:{first}", "--app", "fleet:app")
    fleet.said(f"{first} has stopped, as an operator asked")
    assert fleet.ask("/healthz")[0] == fleet.ask("/readyz")[0] == 200
    assert [worker["pid"] for worker in fleet.ask()[1]["workers"]] == [second]
    project.run("workers", "stop", f"{host}:{second}", "--app", "fleet:app")
    assert fleet.ended() == 0, fleet.log


def test_a_worker_that_ends_by_itself_is_replaced_however_well_it_ended(project: Project) -> None:
    fleet = Fleet(project, "-p", "2")
    first, second = fleet.ready(2)
    os.kill(first, signal.SIGTERM)
    fleet.said(f"{first} ended with exit code 0")
    after = until(lambda: len(ready := fleet.ready(2)) == 2 and first not in ready and ready)
    assert second in after
    assert fleet.stop() == 0, fleet.log


@pytest.fixture
def systemd(tmp_path: Path) -> Any:
    """The socket at which systemd listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.settimeout(PATIENCE)
        yield listening


def heard(listening: socket.socket, until_word: str) -> list[str]:
    """What it is told, until it hears this word."""
    words: list[str] = []
    while until_word not in words:
        words.append(listening.recv(4096).decode().partition("\n")[0])
    return words


def test_systemd_is_told_how_it_goes(project: Project, systemd: socket.socket) -> None:
    path = project.folder / "notify"
    systemd.bind(str(path))
    environment = os.environ | {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "2000000"}
    fleet = Fleet(project, "-p", "2", env=environment)
    assert set(heard(systemd, "READY=1")) <= {"READY=1", "WATCHDOG=1"}
    assert heard(systemd, "WATCHDOG=1") == ["WATCHDOG=1"]
    fleet.tell(signal.SIGHUP)
    assert set(heard(systemd, "RELOADING=1")) <= {"RELOADING=1", "WATCHDOG=1"}
    assert set(heard(systemd, "READY=1")) <= {"READY=1", "WATCHDOG=1"}
    fleet.tell(signal.SIGTERM)
    assert set(heard(systemd, "STOPPING=1")) <= {"STOPPING=1", "WATCHDOG=1"}
    assert fleet.ended() == 0
    systemd.setblocking(False)
    with pytest.raises(BlockingIOError):
        heard(systemd, "READY=1")


def test_a_worker_alone_tells_systemd_too_at_an_abstract_socket(project: Project, systemd: socket.socket) -> None:
    """And a blocked loop is no reason to be silent before it has been blocked for long."""
    name = f"mainspring-test-{os.getpid()}"
    systemd.bind(f"\0{name}")
    fleet = Fleet(project, env=os.environ | {"NOTIFY_SOCKET": f"@{name}", "WATCHDOG_USEC": "1000000"})
    heard(systemd, "READY=1")
    heard(systemd, "WATCHDOG=1")
    job = enqueue("blocks", "a")
    until(lambda: fleet.notes() and fleet.ask("/healthz")[0] == 503)
    systemd.settimeout(3)
    with pytest.raises(TimeoutError):
        heard(systemd, "READY=1")  # what was on its way, and then nothing more
    fleet.go("a")
    job.result(PATIENCE)
    systemd.settimeout(PATIENCE)
    heard(systemd, "WATCHDOG=1")
    fleet.tell(signal.SIGTERM)
    heard(systemd, "STOPPING=1")
    assert fleet.ended() == 0
