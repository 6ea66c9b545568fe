"""The jobs: develop one photo, draw the contact sheet, mail it, clean up old output.

Each is a plain function around plain functions: `mainspring worker examples.photos.app:app` runs them on threads, and
Pillow lets the other threads go on while it computes. Where the mail goes out and where old output is looked for is
told by the environment of the worker:

    PHOTOS_SMTP        host:port of the mail server; 127.0.0.1:25 if not set
    PHOTOS_OUT         the folder of all runs; out/photos if not set
    PHOTOS_KEEP_DAYS   how many days an unused run is kept; 7 if not set
    MAINSPRING_URL     the job store; sqlite:///mainspring.db if not set
"""

from __future__ import annotations

import os
import smtplib
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.utils import localtime
from pathlib import Path

from examples.photos.output import remove_old_runs
from examples.photos.pictures import BrokenPhoto, Photo, develop, read_gallery
from examples.photos.sheet import draw_sheet, sheet_name
from mainspring import Bury, Context, Mainspring, Retry

__all__ = ["app", "clean_output", "contact_sheet", "mail_gallery", "process_photo"]

SMTP_SERVER = os.environ.get("PHOTOS_SMTP", "127.0.0.1:25")
OUTPUT = Path(os.environ.get("PHOTOS_OUT", "out/photos"))
KEEP_DAYS = float(os.environ.get("PHOTOS_KEEP_DAYS", "7"))

MAX_ATTACHMENT = 20_000_000
"""Bytes; most mail servers take no more. A larger sheet is mailed as the path where it lies."""

app = Mainspring()


@app.task(queue="photos", retry=Retry(attempts=3, delay="1s"))
def process_photo(ctx: Context, photo: Path, gallery: Path) -> Photo:
    """Thumbnails and colours of one photo. A full disk is tried again; a broken picture is not, it stays broken."""
    try:
        return develop(photo, gallery, ctx.progress)
    except BrokenPhoto as broken:
        raise Bury(str(broken)) from broken


@app.task(queue="photos", retry=Retry(attempts=3, delay="1s"))
def contact_sheet(ctx: Context, gallery: Path, sheet: Path, title: str) -> int:
    """A PDF of all photos that are in the gallery by now; gives their number."""
    photos = read_gallery(gallery)
    if not photos:
        raise Bury(f"there is no photo in {gallery}")
    draw_sheet(photos, sheet, title, ctx.progress)
    return len(photos)


# Mail servers are busy for moments, seldom for hours: the first tries come quickly, and there are many of them.
@app.task(queue="mail", retry=Retry(attempts=10, delay="300ms", max_delay="10s"))
def mail_gallery(ctx: Context, gallery: Path, sheet: Path, to: str) -> str:
    """Mail the contact sheet; gives the mail's id, which is the same at every try, so that twins can be told."""
    mail = compose_mail(gallery, sheet, to, f"<{ctx.job.id}@photos.example>")
    host, _, port = SMTP_SERVER.rpartition(":")
    # A fixed name: smtplib would ask the network for ours, which can take long where there is none.
    with smtplib.SMTP(host, int(port), local_hostname="localhost", timeout=10) as server:
        server.send_message(mail)
    return str(mail["Message-ID"])


@app.cron("30 3 * * *")
@app.task(queue="chores")
def clean_output(root: Path = OUTPUT, keep_days: float = KEEP_DAYS) -> list[str]:
    """Delete runs that nobody touched for `keep_days`; gives the names of their folders."""
    return remove_old_runs(root, timedelta(days=keep_days), datetime.now(UTC))


def compose_mail(gallery: Path, sheet: Path, to: str, mail_id: str) -> EmailMessage:
    """The mail: a list of the photos by their numbers on the sheet, and the sheet itself unless it is too large."""
    names = [sheet_name(number, photo.name) for number, (photo, _) in enumerate(read_gallery(gallery), 1)]
    document = sheet.read_bytes()
    fits = len(document) <= MAX_ATTACHMENT
    mail = EmailMessage()
    mail["From"] = "photos@photos.example"
    mail["To"] = to
    mail["Subject"] = f"Your photos are ready ({len(names)})"
    mail["Date"] = localtime()
    mail["Message-ID"] = mail_id
    where = "attached" if fits else f"too large for a mail; it is in {sheet}"
    mail.set_content("\n".join([f"The contact sheet is {where}.", "", *names, ""]))
    if fits:
        mail.add_attachment(document, maintype="application", subtype="pdf", filename=sheet.name)
    return mail
