"""What a server refuses and what redis-py raises, as errors of ours that say what to do."""

from __future__ import annotations

import re

from redis import exceptions as theirs

from mainspring.errors import StoreBusy, StoreFull, StoreReadOnly, StoreUnavailable, UnsuitableStore

__all__ = [
    "Moved",
    "NotPrimary",
    "Overdue",
    "Unconfirmed",
    "code",
    "elsewhere",
    "lost",
    "translated",
    "undone",
    "unreached",
]


class Overdue(theirs.TimeoutError):
    """The server has not answered by the deadline. Nobody knows what became of the command; the connection is spent."""


class NotPrimary(UnsuitableStore):
    """The server is a replica; after a fail-over the primary is another one."""


class Moved(theirs.RedisError):
    """The slot of the namespace is served by another node of the cluster."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(f"served by {host}:{port}")
        self.host = host
        self.port = port


class Unconfirmed(theirs.RedisError):
    """It was done, and the server has not said that it is on disk."""


_KINDS: tuple[tuple[type[Exception], str], ...] = (
    (theirs.BusyLoadingError, "LOADING"),
    (theirs.AuthenticationError, "NOAUTH"),
    (theirs.AuthenticationWrongNumberOfArgsError, "NOAUTH"),
    (theirs.OutOfMemoryError, "OOM"),
    (theirs.ReadOnlyError, "READONLY"),
    (theirs.NoPermissionError, "NOPERM"),
    (theirs.NoScriptError, "NOSCRIPT"),
    (theirs.MovedError, "MOVED"),
    (theirs.AskError, "ASK"),
    (theirs.TryAgainError, "TRYAGAIN"),
    (theirs.ClusterDownError, "CLUSTERDOWN"),
    (theirs.ClusterCrossSlotError, "CROSSSLOT"),
    (theirs.MasterDownError, "MASTERDOWN"),
)
"""redis-py takes the first word away where it has a class for it."""

_WORDS = "BUSY|CLUSTERDOWN|DENIED|LOADING|MASTERDOWN|MISCONF|NOPERM|NOREPLICAS|OOM|READONLY|UNKILLABLE"
_CODE = re.compile(rf"(?:^|: -)({_WORDS})\b")
"""Redis 6 puts a script's own words before what a command in it was refused with."""

_UNDONE = frozenset({"ASK", "BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "MOVED", "READONLY", "TRYAGAIN"})

_ELSEWHERE = frozenset({"CLUSTERDOWN", "MASTERDOWN", "MOVED", "READONLY"})


def code(error: BaseException) -> str:
    """The word that a server begins an error with; "" for what is none of those that mean something here."""
    for kind, word in _KINDS:
        if isinstance(error, kind):
            return word
    text = str(error)
    if "max number of clients" in text:
        return "MAXCLIENTS"
    match = _CODE.search(text)
    return match[1] if match else ""


def undone(error: BaseException) -> bool:
    """Whether the server has done nothing, and may do it in a while, or another server at once."""
    return isinstance(error, Moved) or code(error) in _UNDONE


def elsewhere(error: BaseException) -> bool:
    """Whether another server is the right one now, or this one will have to be looked at anew."""
    return isinstance(error, Moved) or code(error) in _ELSEWHERE


def lost(error: BaseException) -> bool:
    """Whether the connection went down with it, so that nobody knows what became of the command."""
    return isinstance(error, theirs.ConnectionError) and not code(error)


def translated(error: Exception, url: str) -> Exception:
    """The error as one of ours; as it is, where only a bug of ours can be the cause."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, Unconfirmed):
        return StoreUnavailable(
            f"{url} has not confirmed that it is on disk ({text}): nobody knows whether it would outlive the server. "
            "Doing it again is safe"
        )
    match code(error):
        case "BUSY" | "UNKILLABLE":
            return StoreBusy(
                f"{url} did not get to it in time, a script of somebody's is running ({text}); nothing was changed, "
                "try again"
            )
        case "ASK" | "TRYAGAIN":
            return StoreBusy(
                f"{url}: the cluster is moving the slot of the namespace to another node ({text}); nothing was "
                "changed, try again when it is done"
            )
        case "MAXCLIENTS":
            return StoreBusy(
                f"{url} takes no more connections ({text}); nothing was changed. Raise maxclients there, or lower what "
                "its clients take (?pool=N here)"
            )
        case "OOM":
            return StoreFull(
                f"no memory left in {url} ({text}); nothing was changed. Raise maxmemory, let workers catch up, or "
                "keep finished jobs for a shorter time"
            )
        case "MISCONF":
            return StoreFull(
                f"{url} cannot write to its disk and takes no more ({text}); nothing was changed. See its log, free "
                "some room"
            )
        case "READONLY":
            return StoreReadOnly(f"{url} is a replica, which can only be read; give the address of the primary server")
        case "NOREPLICAS":
            return StoreReadOnly(
                f"{url} has fewer replicas than it wants before it takes anything ({text}); nothing was changed. See "
                "min-replicas-to-write, and why they are away"
            )
        case "NOPERM":
            return StoreReadOnly(f"{url}: {text}; grant this user what docs/redis.md lists")
        case "NOAUTH" | "DENIED":
            return StoreUnavailable(f"{url} lets nobody in with that ({text}); put user and password into the URL")
        case "LOADING" | "MASTERDOWN" | "CLUSTERDOWN":
            return StoreUnavailable(f"{url} is not ready ({text}); nothing was changed, try again in a while")
        case "CROSSSLOT":
            return UnsuitableStore(f"{url}: {text}; is there a proxy in between? Connect to the server itself")
    if isinstance(error, theirs.ConnectionError | theirs.TimeoutError | Moved | theirs.MovedError):
        return StoreUnavailable(f"{url} cannot be reached ({text}); see that it runs and takes connections")
    return error


def unreached(error: Exception, url: str) -> Exception:
    """The same for what comes of connecting, where nothing is said that any server would not take."""
    ours = translated(error, url)
    if isinstance(ours, theirs.RedisError):
        text = " ".join(str(error).split())
        return UnsuitableStore(f"{url} does not answer as Redis and Valkey do ({text}); see what listens there")
    return ours
