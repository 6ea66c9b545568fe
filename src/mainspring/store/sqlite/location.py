"""Where an SQLite store is: its URL read, and its place checked before a single byte is written."""

from __future__ import annotations

import itertools
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from mainspring.errors import InvalidURL, StoreUnavailable, UnsuitableStore

__all__ = ["Location", "check_folder", "file_system_of", "identity", "locate"]

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
    if not url.lower().startswith("sqlite://") or parts.netloc or parts.path == "/":
        raise InvalidURL(
            f"{url!r} is not an SQLite URL; write sqlite:///jobs.db (in the current folder), "
            "sqlite:////var/lib/app/jobs.db (absolute) or sqlite:// (in memory)"
        )
    if "?" in url or "#" in url:
        raise InvalidURL(
            f"{url!r} has parameters, and SQLite stores take none: write sqlite:///jobs.db. In the name of a file, "
            "%3F stands for ? and %23 for #"
        )
    if not parts.path:
        # The memdb file system shares one database between all connections of a process that use its name.
        return Location("sqlite://", None, f"file:/mainspring-{os.getpid()}-{next(_memories)}?vfs=memdb")
    try:
        name = unquote(parts.path[1:], errors="strict")
        name.encode()
    except UnicodeError:
        raise InvalidURL(f"{url!r} names a file that is not UTF-8; give it such a name") from None
    if "\x00" in name:
        raise InvalidURL(f"{url!r} has a NUL character in the name of the file; take it out")
    try:
        path = Path(os.path.abspath(name))
    except FileNotFoundError:
        raise StoreUnavailable(f"cannot find {name}: the current folder was deleted; give an absolute path") from None
    return Location(f"sqlite:///{_encoded(str(path))}", path, path.as_uri())


def _encoded(path: str) -> str:
    """The path as a URL has it: encoded where it must be, and otherwise as people read it."""
    return re.sub(r"[%?#\x00-\x1f\x7f]", lambda unfit: quote(unfit[0]), path)


def check_folder(path: Path) -> None:
    """Raise unless `path` can be a store's file: its folder is there, it is a file if it is there, and locks work."""
    try:
        if not path.parent.is_dir():
            raise StoreUnavailable(f"cannot open {path}: the folder {path.parent} does not exist; create it first")
        mode = path.stat().st_mode if path.exists() else stat.S_IFREG
    except OSError as error:
        raise StoreUnavailable(
            f"cannot open {path}: {error.strerror}; check the name, and that this user may enter the folder"
        ) from None
    if stat.S_ISDIR(mode):
        raise UnsuitableStore(
            f"cannot use {path} as a store: it is a folder; name a file in it, such as {path}/jobs.db"
        )
    if not stat.S_ISREG(mode):
        raise UnsuitableStore(f"cannot use {path} as a store: it is a device, pipe or socket; name a file")
    kind = file_system_of(Path(os.path.realpath(path)), _mounts())
    if kind in NETWORK_FILE_SYSTEMS:
        raise UnsuitableStore(
            f"{path} is on a network file system ({kind}), where SQLite's locks cannot be trusted; put the file on a "
            "local disk, or use a PostgreSQL or Redis URL to share jobs between machines"
        )


def identity(location: Location) -> tuple[int, int] | None:
    """Which file is at the location now; None: there is none that this user can see."""
    if location.path is None:
        return (0, 0)
    try:
        found = os.stat(location.path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def file_system_of(path: Path, mounts: str) -> str:
    """The kind of file system that holds `path`, by a mount table in the form of /proc/mounts; "" if unknown."""
    best, kind = "", ""
    for line in mounts.split("\n"):
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda escape: chr(int(escape[1], 8)), fields[1])
        inside = path.is_relative_to(point)
        if inside and len(point) >= len(best):
            best, kind = point, fields[2]
    return kind


def _mounts() -> str:
    try:
        return Path("/proc/mounts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
