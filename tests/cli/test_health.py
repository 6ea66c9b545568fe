"""`mainspring worker --health`: what it answers is what the worker has achieved, whatever its jobs and its store do."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from punctual import takes_less_than
from servers.postgres import PostgresServer, running_postgres
from servers.valkey import ValkeyServer, running_valkey

from mainspring import Mainspring
from mainspring.cli.target import load_app

from .conftest import PATIENCE, Project, until
from .fleet import Fleet


def enqueue(task: str, *args: Any) -> Any:
    return load_app("fleet:app").tasks[task].enqueue(*args)


@pytest.fixture(params=["valkey", "postgres"])
def server(request: pytest.FixtureRequest) -> Iterator[ValkeyServer | PostgresServer]:
    with running_valkey(appendonly="yes") if request.param == "valkey" else running_postgres() as server:
        if request.param == "postgres":
            Mainspring(server.url).store.migrate()
        yield server


@pytest.mark.parametrize("processes", [1, 2])
def test_a_store_that_is_away_makes_it_unready_soon_and_unhealthy_after_the_lease(
    project: Project, server: ValkeyServer | PostgresServer, processes: int
) -> None:
    fleet = Fleet(project, "-p", str(processes), "--lease", "8s", url=server.url)
    fleet.ready(processes)
    assert fleet.ask("/healthz")[0] == 200
    server.kill()
    gone = time.monotonic()
    until(lambda: fleet.ask()[0] == 503)
    assert time.monotonic() - gone < 20

    def unheard() -> Any:
        status, document = fleet.ask("/healthz")
        return status == 503 and "no heartbeat has been answered" in document["reason"] and document

    unhealthy = [worker for worker in until(unheard)["workers"] if not worker["healthy"]]
    assert all(worker["last_beat_age"] > 8 for worker in unhealthy)
    server.start()
    fleet.ready(processes)
    until(lambda: fleet.ask("/healthz")[0] == fleet.ask()[0] == 200)
    assert enqueue("version").result(PATIENCE)[0] == 1
    assert fleet.stop() == 0, fleet.log


@pytest.mark.parametrize("processes", [1, 2])
def test_a_blocked_loop_is_seen_and_hangs_nobody(project: Project, processes: int) -> None:
    fleet = Fleet(project, "-p", str(processes))
    fleet.ready(processes)
    job = enqueue("blocks", "a")
    until(fleet.notes)

    def verdict() -> Any:
        # The loop is blocked until it is told to go on: whoever waited for it would wait in vain.
        status, document = fleet.ask("/healthz")
        return status == 503 and "its event loop has been blocked for" in document["reason"] and document

    blocked = [worker for worker in until(verdict)["workers"] if not worker["healthy"]]
    assert len(blocked) == 1
    assert blocked[0]["last_beat_age"] < 30
    # One of two can still take jobs.
    until(lambda: fleet.ask()[0] == (200 if processes == 2 else 503))
    fleet.go("a")
    job.result(PATIENCE)
    until(lambda: fleet.ask("/healthz")[0] == fleet.ask()[0] == 200)
    assert fleet.stop() == 0, fleet.log


def test_a_worker_whose_hands_are_full_is_ready(project: Project) -> None:
    """It does not claim, and need not: nobody may take it for deaf."""
    fleet = Fleet(project, "-c", "1")
    fleet.ready()
    job = enqueue("held", "a")
    until(fleet.notes)

    def ready_with_an_old_claim() -> bool:
        status, document = fleet.ask()
        (worker,) = document["workers"]
        return status == 200 and worker["last_claim_age"] > 7 and worker["running"] == 1

    until(ready_with_an_old_claim)
    fleet.go("a")
    job.result(PATIENCE)


def test_a_quiet_worker_is_healthy_and_not_ready(project: Project) -> None:
    fleet = Fleet(project)
    (pid,) = fleet.ready()
    project.run("workers", "quiet", f"{socket.gethostname()}:{pid}", "--app", "fleet:app")
    until(lambda: fleet.ask()[0] == 503 and fleet.ask()[1]["reason"] == "it is quiet")
    assert fleet.ask("/healthz")[0] == 200


def test_a_stopping_worker_is_healthy_and_not_ready(project: Project) -> None:
    fleet = Fleet(project)
    fleet.ready()
    job = enqueue("held", "a")
    until(fleet.notes)
    fleet.tell(signal.SIGTERM)
    until(lambda: fleet.ask()[0] == 503 and fleet.ask()[1]["reason"] == "it is stopping")
    assert fleet.ask("/healthz")[0] == 200
    fleet.go("a")
    assert fleet.ended() == 0
    assert job.result() == fleet.process.pid


def test_before_the_first_claim_it_is_healthy_and_not_ready(project: Project) -> None:
    project.write(
        "fleet.py",
        "import time\nfrom pathlib import Path\nfrom mainspring import Mainspring\n"
        "while not Path('go-import').exists(): time.sleep(0.01)\napp = Mainspring('sqlite:///fleet.db')\n",
    )
    fleet = Fleet(project, "-p", "2")
    until(lambda: len(fleet.ask()[1]["workers"]) == 2 and fleet.ask()[1]["workers"][1]["pid"])
    status, document = fleet.ask()
    assert (status, fleet.ask("/healthz")[0]) == (503, 200)
    assert "it is starting" in document["reason"]
    assert [worker["state"] for worker in document["workers"]] == ["starting", "starting"]
    fleet.go("import")
    fleet.ready(2)
    assert fleet.stop() == 0, fleet.log


def test_a_frozen_process_is_seen_by_its_supervisor(project: Project) -> None:
    fleet = Fleet(project, "-p", "2")
    frozen, other = fleet.ready(2)
    os.kill(frozen, signal.SIGSTOP)
    document = until(lambda: (answer := fleet.ask("/healthz"))[0] == 503 and answer[1])
    assert f"worker {frozen}: it has not reported for" in document["reason"]
    assert fleet.ready() == [other]
    os.kill(frozen, signal.SIGCONT)
    fleet.ready(2)
    until(lambda: fleet.ask("/healthz")[0] == 200)


def test_only_two_paths_and_two_methods_are_answered(project: Project) -> None:
    fleet = Fleet(project)
    (pid,) = fleet.ready()
    until(lambda: fleet.ask("/healthz", "HEAD") == (200, None))
    document = until(lambda: (answer := fleet.ask("/readyz?verbose=1"))[0] == 200 and answer[1])
    (worker,) = document["workers"]
    assert worker["pid"] == pid
    assert worker["last_claim_age"] < 5
    assert worker["memory"] > 10_000_000
    assert [fleet.ask(path)[0] for path in ("/", "/metrics", "/healthz/x")] == [404] * 3
    assert fleet.ask("/healthz", "POST")[0] == 405


def test_clients_that_ask_slowly_or_nothing_keep_nobody_from_asking(project: Project) -> None:
    fleet = Fleet(project)
    fleet.ready()
    crowd: list[socket.socket] = []

    def seconds_in_a_crowd() -> float:
        newcomers = [socket.create_connection(("127.0.0.1", fleet.port), timeout=PATIENCE) for _ in range(200)]
        crowd.extend(newcomers)
        for client in newcomers[::2]:
            client.send(b"GET /healthz HTTP/1.1\r\nX: ")
        began = time.monotonic()
        for _ in range(10):
            assert fleet.ask("/healthz")[0] == 200
        return time.monotonic() - began

    try:
        # In two seconds the crowd has gone by itself.
        takes_less_than(1.5, seconds_in_a_crowd)
        # And each of them is hung up on in the end.
        for client in crowd:
            with suppress(ConnectionResetError):
                assert client.recv(1) == b""
        with socket.create_connection(("127.0.0.1", fleet.port), timeout=PATIENCE) as endless, pytest.raises(OSError):
            endless.sendall(b"x" * 50_000_000)
    finally:
        for client in crowd:
            client.close()
    assert fleet.ask("/healthz")[0] == 200
    assert fleet.stop() == 0
    assert "Traceback" not in fleet.log


def test_it_can_be_served_at_the_path_of_a_socket(project: Project) -> None:
    path = project.folder / "health.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))  # as one that was killed leaves it behind
    fleet = Fleet(project)
    process = project.start("worker", "fleet:app", f"--health={path}", stderr=None)

    def status() -> int:
        connection = UnixConnection(path)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()

    until(lambda: status() == 200)
    process.terminate()
    assert process.wait(PATIENCE) == 0
    assert not path.exists()
    assert fleet.stop() == 0


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=PATIENCE)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(str(self._path))


@pytest.mark.parametrize("place", ["nowhere", "127.0.0.1:http", "127.0.0.1:99999", "/no/such/folder/x.sock"])
def test_a_place_where_it_cannot_be_served_is_wrong_usage(project: Project, place: str) -> None:
    code, _, error = project.finish("worker", "shop.jobs:app", f"--health={place}")
    assert code == 2
    assert "health cannot be served at" in error.splitlines()[-1]
    assert "Traceback" not in error


def test_a_port_that_is_taken_is_wrong_usage(project: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        code, _, error = project.finish("worker", "shop.jobs:app", f"--health={other.getsockname()[1]}")
    assert code == 2
    assert "in use" in error.splitlines()[-1]
