"""Where an SQLite store is: its URL read, and its place checked before a single byte is written."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mainspring.errors import InvalidURL, StoreUnavailable, UnsuitableStore

__all__ = ["Location", "check_folder", "file_system_of", "locate"]

NETWORK_FILE_SYSTEMS = frozenset(
    """nfs nfs4 cifs smb2 smb3 smbfs afs ncpfs ceph glusterfs lustre beegfs gpfs davfs
    fuse.sshfs fuse.glusterfs fuse.s3fs fuse.rclone fuse.gcsfuse fuse.davfs2""".split()
)

_memories = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Location:
    """What to open. `path` is None for a store in memory, which is as private as the `Store` that made it."""

    url: str
    path: Path | None
    uri: str
    """As `sqlite3.connect(uri=True)` takes it."""


def locate(url: str) -> Location:
    """Read `sqlite:///relative.db`, `sqlite:////absolute.db` or `sqlite://` (in memory, gone with the process)."""
    parts = urlsplit(url)
    if parts.scheme != "sqlite" or parts.netloc or parts.query or parts.fragment or "\x00" in unquote(parts.path):
        raise InvalidURL(
            f"{url!r} is not an SQLite URL; write sqlite:///jobs.db (in the current folder), "
            "sqlite:////var/lib/app/jobs.db (absolute) or sqlite:// (in memory)"
        )
    if parts.path in ("", "/"):
        # The memdb file system shares one database between all connections of a process that use its name.
        return Location("sqlite://", None, f"file:/mainspring-{os.getpid()}-{next(_memories)}?vfs=memdb")
    path = Path(os.path.abspath(unquote(parts.path[1:])))
    return Location(f"sqlite:///{path}", path, path.as_uri())


def check_folder(path: Path) -> None:
    """Raise unless `path` can be a store's file: its folder is there, it is no folder itself, and locks work there."""
    if not path.parent.is_dir():
        raise StoreUnavailable(f"cannot open {path}: the folder {path.parent} does not exist; create it first")
    if path.is_dir():
        raise UnsuitableStore(
            f"cannot use {path} as a store: it is a folder; name a file in it, such as {path}/jobs.db"
        )
    kind = file_system_of(path, _mounts())
    if kind in NETWORK_FILE_SYSTEMS:
        raise UnsuitableStore(
            f"{path} is on a network file system ({kind}), where SQLite's locks cannot be trusted; put the file on a "
            "local disk, or use a PostgreSQL or Redis URL to share jobs between machines"
        )


def file_system_of(path: Path, mounts: str) -> str:
    """The kind of file system that holds `path`, by a mount table in the form of /proc/mounts; "" if unknown."""
    best, kind = "", ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = fields[1].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
        inside = path.is_relative_to(point)
        if inside and len(point) >= len(best):
            best, kind = point, fields[2]
    return kind


def _mounts() -> str:
    try:
        return Path("/proc/mounts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
