"""`mainspring web`, and the dashboard of `mainspring dev`, as real processes."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import threading
from functools import partial
from subprocess import Popen

import httpx
import pytest

from .conftest import PATIENCE, Project, until
from .test_worker import reading

APP = "shop.jobs:app"
MACHINES_OWN = next(
    (
        place[4][0]
        for place in socket.getaddrinfo(socket.gethostname(), 0, socket.AF_INET)
        if place[4][0] != "127.0.0.1"
    ),
    "192.0.2.1",
)


get = partial(httpx.get, timeout=PATIENCE)


def started(project: Project, *options: str) -> tuple[Popen[str], list[str], str]:
    """The running command, what it says, and where it serves."""
    process = project.start("web", APP, "--port", "0", *options)
    lines = reading(process)
    where = until(lambda: re.search(r"on (http://\S+), store", "".join(lines)))
    return process, lines, str(where[1])


def password(project: Project) -> str:
    process = project.start("web", "--hash-password", stdin=subprocess.PIPE)
    out, _ = process.communicate("correct horse\n", timeout=PATIENCE)
    return out.strip()


# --- serving ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_this_machine_and_ends_quickly_by_a_signal(project: Project, number: signal.Signals) -> None:
    process, lines, url = started(project)
    assert get(f"{url}/api/v1/openapi.json").status_code == 200
    assert get(f"{url}/api/v1/openapi.json", headers={"Host": "evil.example"}).status_code == 421
    process.send_signal(number)
    assert process.wait(PATIENCE) == 0
    assert "Traceback" not in "".join(lines)


def test_a_signal_ends_it_while_streams_are_open(project: Project) -> None:
    """A request that is never finished, as much as an answer that never ends."""
    process, lines, url = started(project)
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as idle, socket.create_connection((host, int(port))) as half:
        idle.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert idle.recv(100)
        half.sendall(b"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nx")
        process.terminate()
        assert process.wait(PATIENCE) == 0  # those two would hold it up for ever
    assert "Traceback" not in "".join(lines)


def test_a_user_signs_in_and_a_program_shows_its_token(project: Project) -> None:
    project.write("users.txt", f"# on call\nann:admin:{password(project)}\n")
    _, out, _ = project.finish("web", "--make-token")
    token, stored = out.split()
    project.write("tokens.txt", f"deploys:operator:{stored}\n")
    process, lines, url = started(project, "--users", "users.txt", "--token-file", "tokens.txt")
    api = f"{url}/api/v1/openapi.json"
    assert get(api).status_code == 401
    assert get(api, headers={"Authorization": f"Bearer {token}"}).status_code == 200
    assert get(api, headers={"Authorization": f"Bearer {stored}"}).status_code == 401
    with httpx.Client(base_url=url, timeout=PATIENCE) as browser:
        assert browser.post("/login", data={"name": "ann", "password": "wrong"}).status_code == 401
        assert browser.post("/login", data={"name": "ann", "password": "correct horse"}).status_code == 303
        assert browser.get("/api/v1/openapi.json").status_code == 200
    process.terminate()
    assert process.wait(PATIENCE) == 0
    assert token not in "".join(lines)
    assert "correct horse" not in "".join(lines)


def test_behind_a_proxy_that_takes_a_path_off_its_own_addresses_have_it(project: Project) -> None:
    options = ["--root-path", "/jobs", "--proxy", "127.0.0.1", "--hosts", "shop.example"]
    _, _, url = started(project, *options, "--user", f"ann:admin:{password(project)}")
    headers = {"Host": "shop.example", "X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.1"}
    with httpx.Client(base_url=url, headers=headers, timeout=PATIENCE) as browser:
        assert 'action="/jobs/login"' in browser.get("/login").text
        done = browser.post("/login", data={"name": "ann", "password": "correct horse", "next": "/dead"})
        assert done.headers["location"] == "/jobs/dead"
        assert "Path=/jobs;" in done.headers["set-cookie"]
        assert "Secure" in done.headers["set-cookie"]


def test_a_head_that_never_ends_is_not_kept(project: Project) -> None:
    _, _, url = started(project)
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        answer = b""
        try:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
            for _ in range(1_000):
                connection.sendall(b"X-Large: " + b"x" * 1_000 + b"\r\n")
            answer = connection.recv(100)
        except OSError:
            pass  # the server has had enough while we were still sending
        assert answer == b"" or b" 400 " in answer


# --- what it refuses -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.1", "::ffff:192.0.2.1"])
def test_other_machines_are_refused_without_a_way_to_know_who_asks(project: Project, host: str) -> None:
    error = project.run("web", APP, "--host", host, "--port", "0", code=2).stderr
    assert error.count("\n") == 1
    assert "--users" in error
    assert "127.0.0.1" in error


def test_with_a_way_to_know_who_asks_other_addresses_may_be_listened_on(project: Project) -> None:
    process, lines, url = started(project, "--host", "0.0.0.0", "--user", f"ann:admin:{password(project)}")
    assert get(f"{url}/login").status_code == 200
    until(lambda: "not encrypted" in "".join(lines))
    process.terminate()
    assert process.wait(PATIENCE) == 0


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--user", "ann:admin"], "name:role:hash"),
        (["--user", "ann:root:x"], "viewer, operator or admin"),
        (["--user", "ann:admin:secret"], "--hash-password"),
        (["--users", "no-such-file"], "no-such-file"),
        (["--users", "empty.txt"], "names nobody"),
        (["--token-file", "shop"], "cannot be read"),
        (["--proxy-user", "X-User:viewer"], "--proxy"),
        (["--proxy-user", "X-User", "--proxy", "127.0.0.1"], "role"),
        (["--proxy-role", "X-Role"], "--proxy-user"),
        (["--proxy", "everywhere"], "everywhere"),
        (["--hosts", "http://shop.example"], "http://shop.example"),
        (["--origin", "shop.example"], "https://shop.example"),
        (["--host", "no.such.host.invalid"], "no.such.host.invalid"),
        (["--host", "192.0.2.1", "--proxy", "::1", "--proxy-user", "X-User:viewer"], "192.0.2.1"),
        (["--app", "shop.other:app"], "two apps"),
        (["--root-path", "jobs"], "/jobs"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_gives_one_line_and_exit_code_2(project: Project, options: list[str], told: str) -> None:
    project.write("empty.txt", "# nobody\n")
    error = project.run("web", APP, "--port", "0", *options, code=2).stderr
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert told in error


def test_a_port_that_is_taken_is_one_clear_line(project: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        error = project.run("web", APP, "--port", str(port), code=1).stderr
    assert error == f"error: port {port} of 127.0.0.1 is taken; name another one: --port {port + 1}\n"


def test_a_store_that_is_not_there_is_one_clear_line(project: Project) -> None:
    assert "migrate" in project.run("web", "--url", "sqlite:///none.db", code=1).stderr
    assert not (project.folder / "none.db").exists()


@pytest.mark.parametrize("command", [["web", APP], ["web", "--hash-password"]], ids=" ".join)
def test_where_the_extra_is_missing_one_line_names_it(project: Project, command: list[str]) -> None:
    program = (
        "import sys\n"
        "from importlib.machinery import PathFinder\n"
        "find = PathFinder.find_spec\n"
        "gone = ('argon2', 'fastapi', 'uvicorn', 'starlette', 'jinja2')\n"
        "PathFinder.find_spec = classmethod(lambda cls, name, *more: None if name.partition('.')[0] in gone else "
        "find.__func__(cls, name, *more))\n"
        "from mainspring.cli import main\n"
        "sys.argv[:] = ['mainspring', *sys.argv[1:]]\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program, *command], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "pip install 'mainspring[web]'" in done.stderr


# --- mainspring dev --------------------------------------------------------------------------------------------------


def dashboard(lines: list[str]) -> str:
    return str(until(lambda: re.search(r"Mainspring on (http://\S+), store", "".join(lines)))[1])


def test_dev_shows_the_dashboard_and_keeps_its_address_when_the_code_changes(project: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        process = project.start("dev", APP, "--port", str(taken))
        lines = reading(process)
        url = dashboard(lines)
        until(lambda: "serves" in "".join(lines))
    assert int(url.rpartition(":")[2]) > taken
    assert get(f"{url}/api/v1/openapi.json").status_code == 200
    project.write("shop/more.py", "added = 1\n")
    until(lambda: "starting anew" in "".join(lines))
    # It waits, and is answered by whoever is there next.
    answers: list[int] = []
    asking = threading.Thread(target=lambda: answers.append(get(f"{url}/api/v1/openapi.json").status_code))
    until(lambda: "SIGTERM: stopping\n" in "".join(lines))
    asking.start()
    asking.join()
    assert answers == [200]
    until(lambda: "".join(lines).count(f"Mainspring on {url}, store") == 2)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 0
    with pytest.raises(httpx.ConnectError):
        get(url)


def test_dev_without_a_dashboard(project: Project) -> None:
    process = project.start("dev", APP, "--no-web")
    lines = reading(process)
    until(lambda: "serves" in "".join(lines))
    process.terminate()
    assert process.wait(PATIENCE) == 0
    assert "http://" not in "".join(lines)


def test_dev_tells_once_what_is_wrong_with_the_code(project: Project) -> None:
    project.write("broken.py", "def (")
    process = project.start("dev", "broken")
    lines = reading(process)
    until(lambda: "".join(lines).count("starts again when a file changes") == 2)
    process.terminate()
    assert process.wait(PATIENCE) == 0
    assert "".join(lines).count("SyntaxError: ") == 1
