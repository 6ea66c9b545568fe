"""The photo demo from end to end: the real command, a real worker process, a real mail server."""

from __future__ import annotations

import email
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from email import policy
from pathlib import Path

import psutil
import pytest
from servers.photos import kill, lives, wait_for

from examples.photos.camera import BROKEN, NAMES, take_photos
from examples.photos.output import Run
from examples.photos.pictures import read_gallery
from mainspring import Mainspring, State

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.timeout(400)


@contextmanager
def demo(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """The demo as a user starts it, killed if the test ends before it does."""
    command = [sys.executable, "-m", "examples.photos.demo", *map(str, arguments)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PHOTOS", "MAINSPRING"))}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        family = psutil.Process(process.pid)
        try:
            yield process
        finally:
            if process.poll() is None:
                kill([*family.children(recursive=True), family])


def only_run(out: Path) -> Run:
    (folder,) = out.iterdir()
    return Run(folder)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A user's folder: the camera's pictures, but small, and something that is none."""
    take_photos(tmp_path / "my photos", 1, (640, 480))
    (tmp_path / "my photos" / "notes.txt").touch()
    return tmp_path / "my photos"


def test_photos_become_thumbnails_a_sheet_and_a_mail_and_a_dead_letter_can_be_replayed(
    tmp_path: Path, photos: Path
) -> None:
    """The commands that the demo prints for the dead letter work as they stand."""
    with demo(photos, "--out", tmp_path / "out", "--seed", 3, "--refusals", 0.6) as process:
        output, errors = process.communicate()
    assert (process.returncode, errors) == (0, "")
    run = only_run(tmp_path / "out")
    assert {photo.name for photo, _ in read_gallery(run.gallery)} == set(NAMES)
    assert run.sheet.read_bytes().startswith(b"%PDF")
    (kept,) = run.mail.glob("*.eml")
    mail = email.message_from_bytes(kept.read_bytes(), policy=policy.default)
    assert mail["To"] == "you@example.com"
    (attachment,) = mail.iter_attachments()
    assert attachment.get_content() == run.sheet.read_bytes()
    assert "try again later" in output
    assert f"buried: {BROKEN} is broken" in output

    commands = [line.strip() for line in output.splitlines() if BROKEN in line or "mainspring " in line]
    (retry,) = [line for line in commands if " jobs retry " in line]
    (work,) = [line for line in commands if f"{run.url} " in line and " worker " in line]
    (photos / BROKEN).write_bytes((photos / NAMES[0]).read_bytes())
    shell = {"cwd": ROOT, "env": {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}}
    subprocess.run(retry, shell=True, check=True, capture_output=True, **shell)  # type: ignore[call-overload]
    log = tmp_path / "replay.log"
    with (
        log.open("wb") as output_file,
        subprocess.Popen(f"exec env {work}", shell=True, stderr=output_file, **shell) as worker,  # type: ignore[call-overload]
        Mainspring(run.url) as app,
    ):
        try:
            job = app.jobs.get(shlex.split(retry)[shlex.split(retry).index("retry") + 1])
            wait_for(lambda: job.refresh().state is State.COMPLETED or worker.poll() is not None)
        finally:
            worker.terminate()
        assert (job.state, job.error) == (State.COMPLETED, None), log.read_text()
    assert worker.returncode == 0
    assert (run.gallery / BROKEN / "large.webp").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything_that_the_demo_started(tmp_path: Path, photos: Path, number: signal.Signals) -> None:
    """Even while the mail is turned away again and again; the store is left whole."""
    with demo(photos, "--out", tmp_path / "out", "--refusals", 1) as process:
        wait_for(lambda: any((tmp_path / "out").glob("*/contact-sheet.pdf")))
        with Mainspring(only_run(tmp_path / "out").url) as app:
            wait_for(lambda: any(job.error for job in app.jobs.find(task="mail_gallery")))
        family = psutil.Process(process.pid).children(recursive=True)
        assert family
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (128 + number, "")
        assert not any(map(lives, family))
    with Mainspring(only_run(tmp_path / "out").url) as app:
        assert app.jobs.count(state="running") == 0
        assert app.jobs.count() == len([*NAMES, BROKEN, "contact sheet", "mail"])


def test_a_folder_of_nothing_but_broken_pictures_is_a_failure_that_is_explained(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_text("not a picture")
    with demo(tmp_path / "photos", "--out", tmp_path / "out") as process:
        _, errors = process.communicate()
    assert process.returncode == 1
    assert "none of the photos can be read" in errors
    assert "a.jpg is not a JPEG" in errors
    assert "Traceback" not in errors


def test_a_worker_that_dies_is_noticed(tmp_path: Path, photos: Path) -> None:
    with demo(photos, "--out", tmp_path / "out", "--refusals", 1) as process:
        wait_for(lambda: any((tmp_path / "out").glob("*/contact-sheet.pdf")))
        kill(psutil.Process(process.pid).children(recursive=True))
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "the worker ended by itself" in errors
    assert "Traceback" not in errors
