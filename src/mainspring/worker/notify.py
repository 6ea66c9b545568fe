"""Telling systemd (`Type=notify`) how it goes: one datagram to the socket that it names. See sd_notify(3)."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress

__all__ = ["Notifier"]


class Notifier:
    """Says the same thing once: readiness when it comes, a stop when it is asked for; and is a watchdog's heartbeat as
    often as is wanted. Says nothing where nobody wants to know."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._pause = _watchdog_seconds(environment) / 2
        self._next_beat = 0.0
        self._said: str | None = None

    @property
    def wanted(self) -> bool:
        """Whether there is anybody to tell."""
        return bool(self._address)

    def ready(self) -> None:
        """It is up, or up again with its new code."""
        self._say("READY=1")

    def reloading(self) -> None:
        """It is being replaced by new code; `ready` says when it is done."""
        self._say(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """It was told to stop."""
        self._say("STOPPING=1")

    def beat(self) -> None:
        """It is well. To be called at least once a second or so; the watchdog hears it as often as it must."""
        if self._pause and time.monotonic() >= self._next_beat:
            self._next_beat = time.monotonic() + self._pause
            self._send("WATCHDOG=1")

    def _say(self, text: str) -> None:
        state = text.partition("=")[0]
        if state != self._said:
            self._said = state
            self._send(text)

    def _send(self, text: str) -> None:
        if self._address:
            with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(1)
                sender.sendto(text.encode(), self._address)


def _watchdog_seconds(environment: Mapping[str, str]) -> float:
    """How often at least the watchdog wants to hear; 0: never."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    try:
        return max(0, int(environment.get("WATCHDOG_USEC", "0"))) / 1_000_000
    except ValueError:
        return 0.0
