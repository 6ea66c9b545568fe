"""The demo: photos in; thumbnails, a contact sheet and a mail out. Run it with `make demo [PHOTOS=folder]`.

It starts a mailbox and a worker process, enqueues one job per photo from this process, follows them, and when all have
ended enqueues the contact sheet and then the mail. It stops whatever it started, also on Ctrl-C.

Exit code 0: everything went as it should (broken pictures are among the dead letters, where they belong); 1: something
else went wrong; 2: the folder of photos cannot be used.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import NoReturn

from rich.console import Console

from examples.photos.camera import take_photos
from examples.photos.display import display_for
from examples.photos.follow import expect_sound_or_buried, follow, follow_one
from examples.photos.mailbox import Mailbox, serve_mailbox
from examples.photos.output import Run, new_run
from examples.photos.pictures import SUFFIXES
from examples.photos.report import report
from examples.photos.worker import Trouble, run_worker
from mainspring import MainspringError


class UnusableFolder(Exception):
    """The folder of photos is missing, or has none; the text is for the user."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo with the command line's `arguments`; gives the exit code."""
    options = _parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a photo's name is shown somehow on terminals of any encoding
            stream.reconfigure(errors="backslashreplace")
    console = Console(highlight=False)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    try:
        photos = find_photos(Path(options.photos)) if options.photos else []
        run = new_run(Path(options.out).absolute(), datetime.now())
    except (UnusableFolder, OSError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    try:
        return _demo(console, options, run, photos)
    except (Trouble, MainspringError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1


def find_photos(folder: Path) -> list[Path]:
    """The pictures in the folder, by name; folders inside it are not searched."""
    if not folder.is_dir():
        raise UnusableFolder(f"{folder} {'is not a folder' if folder.exists() else 'does not exist'}")
    files = sorted(path for path in folder.absolute().iterdir() if not path.name.startswith(".") and path.is_file())
    photos = [path for path in files if path.suffix.lower() in SUFFIXES]
    if not photos:
        inside = f"none of its {len(files)} files is" if files else "there is no file in it, so none"
        raise UnusableFolder(f"{folder} has no photos: {inside} a {', '.join(sorted(SUFFIXES))}")
    for path in photos:
        try:
            str(path).encode()
        except UnicodeEncodeError:
            raise UnusableFolder(f"the name of {os.fsencode(path)!r} is not UTF-8; rename it first") from None
    return photos


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="demo", description="Photos in; thumbnails, a contact sheet and a mail out.")
    environment = os.environ.get
    parser.add_argument("photos", nargs="?", default=environment("PHOTOS"),
                        help="folder of photos; without it a dozen are made ($PHOTOS)")  # fmt: skip
    parser.add_argument("--out", default=environment("PHOTOS_OUT") or "out/photos",
                        help="where each run makes a folder ($PHOTOS_OUT; default: out/photos)")  # fmt: skip
    parser.add_argument("--to", default="you@example.com", metavar="ADDRESS", help="who gets the mail")
    parser.add_argument("--refusals", type=float, default=0.6, metavar="CHANCE",
                        help="how often the mail server says 'try again later', 0 to 1 (default: 0.6)")  # fmt: skip
    parser.add_argument("--seed", type=int, default=3, help="for the pictures and the refusals (default: 3)")
    parser.add_argument("--concurrency", type=int, default=os.cpu_count() or 2, metavar="N",
                        help="how many photos at once (default: one per CPU)")  # fmt: skip
    return parser


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    """A signal becomes an exception, so that everything started is stopped on the way out."""
    raise SystemExit(128 + number)


def _demo(console: Console, options: argparse.Namespace, run: Run, photos: list[Path]) -> int:
    if not photos:
        console.print("Taking a dozen photos, and breaking one …", markup=False)
        photos = take_photos(run.originals, options.seed)
    os.environ["MAINSPRING_URL"] = run.url  # before the app is imported, which reads it
    from examples.photos.app import app, contact_sheet, mail_gallery, process_photo

    with (
        serve_mailbox(run.mail, refusals=options.refusals, seed=options.seed) as mailbox,
        app,
        run_worker(run.worker_log, _settings(run, mailbox), options.concurrency) as worker,
        display_for(console) as display,
    ):
        console.print(f"Photos: {len(photos)}, each a job; a worker process runs {options.concurrency} at a time.")
        jobs = app.enqueue_many([process_photo.job(photo, run.gallery) for photo in photos])
        names = {job.id: photo.name for job, photo in zip(jobs, photos, strict=True)}
        ended = follow(app, names, display, worker, counted=True)
        expect_sound_or_buried(ended)
        # One after the other by hand: the sheet needs every photo, the mail needs the sheet.
        sheet = contact_sheet.enqueue(run.gallery, run.sheet, f"Photos of {run.folder.name}")
        follow_one(app, "contact sheet", sheet, display, worker)
        mail = mail_gallery.enqueue(run.gallery, run.sheet, options.to)
        mailed = follow_one(app, "mail", mail, display, worker)
        cleaning = follow_one(app, "clean-up", app.schedules.run_now("clean_output"), display, worker)
        cleaned = cleaning.result(timeout=0)
    report(console, run, ended, mailed, options.to, cleaned)
    return 0


def _settings(run: Run, mailbox: Mailbox) -> dict[str, str]:
    """What the worker is told by its environment."""
    return {
        "MAINSPRING_URL": run.url,
        "PHOTOS_SMTP": f"{mailbox.host}:{mailbox.port}",
        "PHOTOS_OUT": str(run.folder.parent),
    }


if __name__ == "__main__":
    sys.exit(main())
