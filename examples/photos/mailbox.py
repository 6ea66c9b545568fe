"""The user's mailbox: a real SMTP server on this machine's loopback that keeps what it is sent as .eml files.

Like a busy mail server it can turn deliveries away for the time being ("451 try again later"), at random.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from threading import Thread

from aiosmtpd.smtp import SMTP, Envelope, Session

from examples.photos.output import write_whole

__all__ = ["Mailbox", "serve_mailbox"]

MAX_BYTES = 64 * 1024 * 1024


class Mailbox:
    """What the server does with a mail: turns it away with the chance `refusals` (0 to 1), else keeps it."""

    def __init__(self, folder: Path, *, refusals: float = 0.0, seed: int = 0) -> None:
        self.folder = folder
        self.refusals = refusals
        self.refused = 0
        self.kept: list[Path] = []
        self.host = "127.0.0.1"
        self.port = 0
        self._chance = Random(seed)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Called by aiosmtpd with each mail; gives the server's answer."""
        if self._chance.random() < self.refusals:
            self.refused += 1
            return "451 4.3.2 the mailbox is busy, try again later"
        content = envelope.original_content or b""
        path = self.folder / f"mail-{len(self.kept) + 1}.eml"
        write_whole(path, lambda scratch: scratch.write_bytes(content))
        self.kept.append(path)
        return f"250 2.0.0 kept as {path.name}"


@contextmanager
def serve_mailbox(folder: Path, *, refusals: float = 0.0, seed: int = 0) -> Iterator[Mailbox]:
    """A mailbox that listens on a free port of 127.0.0.1, in a thread of its own, until the block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    mailbox = Mailbox(folder, refusals=refusals, seed=seed)
    with socket.create_server((mailbox.host, 0)) as listening:
        mailbox.port = listening.getsockname()[1]
        loop = asyncio.new_event_loop()
        # A fixed name: aiosmtpd would ask the network for ours, which can take long where there is none.
        accept = loop.create_server(
            lambda: SMTP(mailbox, hostname="localhost", data_size_limit=MAX_BYTES, enable_SMTPUTF8=True, loop=loop),
            sock=listening,
        )
        server = loop.run_until_complete(accept)
        thread = Thread(target=loop.run_forever, name="mailbox", daemon=True)
        thread.start()
        try:
            yield mailbox
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            server.close()
            if tasks := asyncio.all_tasks(loop):
                for task in tasks:
                    task.cancel()
                loop.run_until_complete(asyncio.wait(tasks))
            loop.close()
